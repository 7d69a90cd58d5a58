"""One student learns later data: what it is taught with, the training, and what was gained and forgotten."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from evaluators.distill.evaluate import Guard, predict_logits
from evaluators.distill.schedule import Schedule
from evaluators.distill.steps import EpochFigures
from evaluators.distill.teacher_outputs import compute_outputs
from evaluators.distill.trainer import Trained, train_student
from evaluators.lifelong.drift import Drift, Sample, feature_drift, pixel_drift
from evaluators.lifelong.embedding import embeddings
from evaluators.lifelong.forgetting import WithoutForgetting, widened
from evaluators.lifelong.joined import Input, distinct, join_tasks, pictures_of
from evaluators.lifelong.labels import Classes
from evaluators.lifelong.memory import How, Memory, exemplars
from evaluators.tasks.image_task import ImageTask
from evaluators.tasks.task import Split
from evaluators.teachers.teacher import ModuleTeacher, Normalised, hash_weights
from spaces.batch import Batch

IMAGES = 50_000
"""Images that an update sees by default, in 10 to 40 epochs."""
RATE = 0.05
"""A quarter of a new student's learning rate: what is known is corrected, not learnt anew."""
SAMPLE = 2_000
"""Images at most whose features are compared or herded, for each class or split."""


@dataclass(frozen=True)
class Kept:
    """Accuracy on the earlier test images before and after, and on the later ones (shares in 0..1).

    ``earlier`` are None where the earlier data are not at hand.
    """

    earlier_before: float | None
    earlier_after: float | None
    later_before: float
    later_after: float

    @property
    def forgotten(self) -> float | None:
        """How much less is right of the earlier test images, as a share of all of them."""
        if self.earlier_before is None or self.earlier_after is None:
            return None
        return self.earlier_before - self.earlier_after


@dataclass(frozen=True)
class Lesson:
    """Later data for one student: ``former`` as it was, what it ``like``s for input, and the joined ``task``."""

    former: nn.Module
    like: Input
    classes: Classes
    later: ImageTask
    earlier: ImageTask | None
    memory: Memory | None
    task: ImageTask

    def kept(self, network: nn.Module, guard: Guard = nullcontext) -> Kept:
        """What a student, taught by this lesson, gained and forgot."""
        earlier: tuple[float | None, float | None] = (None, None)
        if self.earlier is not None:
            earlier = self._accuracies(network, self.earlier, np.arange(self.classes.known), guard)
        return Kept(*earlier, *self._accuracies(network, self.later, self.classes.mapping, guard))

    def _accuracies(
        self, network: nn.Module, task: ImageTask, mapping: NDArray[np.int64], guard: Guard
    ) -> tuple[float, float]:
        """Test accuracy of the former student and of ``network``, on a task with its classes mapped to theirs."""
        taken, targets = as_taken(task, self.like), mapping[task.targets("test")]
        before, after = (
            task.score(predict_logits(each, taken, "test", self.like.resolution, guard=guard), targets)
            for each in (self.former, network)
        )
        return before, after


def make_lesson(
    former: nn.Module,
    later: ImageTask,
    classes: Classes,
    like: Input,
    *,
    earlier: ImageTask | None,
    memory: Memory | None = None,
    count: int = 200,
    how: How = "herding",
    seed: int = 0,
    cache: Path,
) -> Lesson:
    """The lesson of later data; the memory is chosen from the ``earlier`` data, unless it is given.

    Without either it consists of the later data alone. Raises ``DataError`` for pictures that do not fit.
    """
    if memory is None and earlier is not None:
        memory = choose_memory(former, earlier, like, count, how, seed)
    task = join_tasks(later, classes, memory, earlier, like, cache)
    return Lesson(former, like, classes, later, earlier, memory, task)


def choose_memory(network: nn.Module, task: ImageTask, like: Input, count: int, how: How, seed: int) -> Memory:
    """At most ``count`` training images of a task for replay, balanced by class (see ``exemplars``)."""
    ids = distinct(task)
    targets = task.targets("train")[ids]
    generator = np.random.default_rng(seed)
    few = [generator.permutation(ids[targets == label])[:SAMPLE] for label in np.unique(targets)]
    ids = np.sort(np.concatenate(few))
    targets = task.targets("train")[ids]
    features = (
        embeddings(network, as_taken(task, like), "train", ids, like.resolution)
        if how == "herding"
        else np.empty((len(ids), 0), np.float32)
    )
    chosen = exemplars(features, targets, count, how, seed)
    return Memory(pictures_of(task, "train", like)[ids[chosen]], targets[chosen])


def teach(
    lesson: Lesson,
    network: nn.Module,
    *,
    seed: int,
    cache: Path,
    epochs: int | None = None,
    distiller: WithoutForgetting | None = None,
    device: str = "cpu",
    guard: Guard = nullcontext,
    on_epoch: Callable[[EpochFigures], None] | None = None,
) -> Trained:
    """Teach ``network``, the former student grown by the new classes, in place.

    Raises ``TrainError`` when loss or gradient stop being finite.
    """
    schedule = update_schedule(lesson.task.size("train"), epochs)
    former = _Former(lesson)
    outputs = compute_outputs(former, lesson.task, views=schedule.views, cache=cache)
    return train_student(
        network,
        lesson.task,
        resolution=lesson.like.resolution,
        distiller=distiller or WithoutForgetting(lesson.classes.known),
        teacher_outputs=outputs,
        schedule=schedule,
        seed=seed,
        device=device,
        step_guard=guard,
        on_epoch=on_epoch,
    )


def update_schedule(samples: int, epochs: int | None = None) -> Schedule:
    """The training of an update on so many images; ``epochs`` overrules its length."""
    length = min(40, max(10, round(IMAGES / samples))) if epochs is None else epochs
    views = min(length, 16)
    return Schedule(length, batch_size=32 if samples < 20_000 else 128, learning_rate=RATE, views=views)


def find_drift(lesson: Lesson, seed: int, guard: Guard = nullcontext) -> Drift:
    """How the later training images differ from the earlier, as pixels and to the former student."""
    later = as_taken(lesson.later, lesson.like)
    pictures = pictures_of(lesson.later, "train", lesson.like)[:SAMPLE]
    shift, spread = pixel_drift(lesson.like.mean, lesson.like.std, pictures)
    compared = None
    if lesson.earlier is not None:
        earlier = as_taken(lesson.earlier, lesson.like)
        mapping = np.arange(lesson.classes.known)
        compared = feature_drift(
            _sample(lesson, earlier, ("train",), mapping, seed, guard),
            _sample(lesson, earlier, ("val", "test"), mapping, seed, guard),
            _sample(lesson, later, ("train",), lesson.classes.mapping, seed, guard),
            seed,
        )
    distance, usual = compared or (None, None)
    return Drift(distance, usual, shift, spread)


def as_taken(task: ImageTask, like: Input) -> ImageTask:
    """A task whose batches are as the student takes them: normalised its way, grey ones widened."""
    return replace(task, mean=like.mean, std=like.std)


def _sample(
    lesson: Lesson, task: ImageTask, splits: Sequence[Split], mapping: NDArray[np.int64], seed: int, guard: Guard
) -> Sample:
    """The former student's features of at most ``SAMPLE`` images of each split, with their classes mapped."""
    features, targets = [], []
    for split in splits:
        ids = distinct(task) if split == "train" else np.arange(task.size(split))
        ids = np.sort(np.random.default_rng(seed).permutation(ids)[:SAMPLE])
        features.append(embeddings(lesson.former, task, split, ids, lesson.like.resolution, guard))
        targets.append(mapping[task.targets(split)[ids]])
    return Sample(np.concatenate(features), np.concatenate(targets))


class _Former(ModuleTeacher):
    """The former student as a teacher of all classes: it never names a new one."""

    def __init__(self, lesson: Lesson) -> None:
        network = copy.deepcopy(lesson.former)
        super().__init__(
            Normalised(network, lesson.like.mean, lesson.like.std),
            name="the former student",
            classes=lesson.task.classes,
            channels=lesson.like.channels,
            resolution=lesson.like.resolution,
            fingerprint=f"former-{lesson.task.classes}-{hash_weights(network)}",
        )

    def _answer(self, images: Batch) -> Tensor:
        return widened(super()._answer(images), self.classes)
