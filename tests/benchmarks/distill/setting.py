"""What is compared: students of two families under teachers of two families, on one data set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from evaluators.distill.evaluate import accuracy
from evaluators.distill.schedule import Schedule
from evaluators.distill.teacher_outputs import TeacherOutputs, compute_outputs
from evaluators.distill.trainer import seeded
from evaluators.tasks.image_task import ImageTask
from evaluators.tasks.load import load_task
from evaluators.teachers.teacher import Teacher
from spaces.catalogue import load_space
from spaces.choice import Choice
from spaces.space import RESOLUTION, Space
from tests.benchmarks.distill.teachers import trained_teacher

STUDENTS = ("residual", "mobile")
"""The spaces that the students are of."""
VALIDATION = 500
"""Images that a training validates on; what is reported is the accuracy on the whole test split."""
VIEWS = 8
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Pair:
    """A student under a teacher; ``network`` makes the student untrained, the same for the same seed."""

    teacher: Teacher
    outputs: TeacherOutputs
    space: Space
    choice: Choice

    @property
    def name(self) -> str:
        """Teacher and student by name."""
        return f"{self.teacher.name} > {self.space.name}"

    @property
    def resolution(self) -> int:
        """Side of the student's images, pixels."""
        return self.space.resolution(self.choice)

    def network(self, seed: int) -> nn.Module:
        """The student before its training."""
        with seeded(seed):
            return self.space.build(self.choice)


@dataclass(frozen=True)
class Setting:
    """The students' task (part of what the teachers learnt), the pairs, and the length of a training."""

    task: ImageTask
    pairs: tuple[Pair, ...]
    schedule: Schedule

    def teachers(self) -> Mapping[str, float]:
        """Test accuracy of each teacher, a share."""
        targets = self.task.targets("test")
        outputs = {pair.teacher.name: pair.outputs for pair in self.pairs}
        return {
            name: accuracy(torch.from_numpy(np.array(found.logits("test"))), targets)
            for name, found in outputs.items()
        }


def load_setting(
    data: str,
    teachers: tuple[str, ...],
    images: int | None,
    image_size: int | None,
    epochs: int,
    teacher_epochs: int | None,
    cache: Path,
    tell: Tell,
) -> Setting:
    """Prepare data, teachers and their outputs, all kept in ``cache``.

    The teachers learn from all training images, the students from the first ``images`` of each class's share.
    """
    cache.mkdir(parents=True, exist_ok=True)
    whole = load_task(data, cache=cache, seed=0, image_size=image_size)
    task = whole if images is None else fewer_images(whole, images, cache)
    schedule = Schedule(epochs, batch_size=32, views=min(epochs, VIEWS), validations=1)
    pairs = []
    for name in teachers:
        teacher = trained_teacher(name, whole, cache, teacher_epochs, tell)
        outputs = compute_outputs(teacher, task, views=schedule.views, cache=cache)
        for family in STUDENTS:
            space = load_space(family, channels=task.channels, image_size=task.image_size, classes=task.classes)
            pairs.append(Pair(teacher, outputs, space, student_choice(space)))
    return Setting(task, tuple(pairs), schedule)


def student_choice(space: Space) -> Choice:
    """A small student with room to learn: one plain block a stage, width and input in the middle."""
    choice = {name: values[0] for name, values in space.domain.items()}
    for name, values in space.domain.items():
        if name.endswith(".width") or name == RESOLUTION:
            choice[name] = values[len(values) // 2]
        if name.endswith(".block"):
            choice[name] = "basic"
    return Choice(choice)


def middle_choice(space: Space) -> Choice:
    """The middle of every choice of a space: what a search would deliver rather than the smallest."""
    return Choice({name: values[len(values) // 2] for name, values in space.domain.items()})


def fewer_images(task: ImageTask, images: int, cache: Path) -> ImageTask:
    """The task with so many training images, as many of each class as can be, and few to validate on."""
    side = task.image_size
    splits = {"train": _first(task.targets("train"), images), "val": _first(task.targets("val"), VALIDATION)}
    splits["test"] = np.arange(task.size("test"))
    arrays = {}
    for split, ids in splits.items():
        arrays[f"x_{split}"] = np.moveaxis(task.pixels(split, side)[ids], 1, -1)
        arrays[f"y_{split}"] = task.targets(split)[ids]
    file = cache / f"{task.fingerprint}-{images}.npz"
    if not file.exists():
        np.savez(file.with_suffix(".draft.npz"), **arrays)
        file.with_suffix(".draft.npz").rename(file)
    policy = "shift" if task.channels == 1 else "standard"
    return load_task(str(file), cache=cache, seed=0, image_size=side, augment=policy)


def _first(targets: np.ndarray, count: int) -> np.ndarray:
    """The first of each class in turn, ``count`` in all or as many as there are, in their order."""
    rank = np.empty(len(targets), np.int64)
    for label in np.unique(targets):
        members = np.flatnonzero(targets == label)
        rank[members] = np.arange(len(members))
    return np.sort(np.lexsort((targets, rank))[:count])
