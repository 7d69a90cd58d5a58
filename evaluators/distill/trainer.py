"""Teaching one network: the loop over epochs and steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import astuple, dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from evaluators.distill.distiller import Distiller
from evaluators.distill.evaluate import Guard, predict_logits
from evaluators.distill.features import FeatureCapture
from evaluators.distill.layout import lay_out
from evaluators.distill.places import check_answers
from evaluators.distill.schedule import Schedule
from evaluators.distill.steps import EpochFigures, Steps
from evaluators.distill.stretch import Stretch
from evaluators.distill.teacher_outputs import TeacherOutputs
from evaluators.distill.teacher_signals import check_teacher, teacher_signals
from spaces.batch import moved

if TYPE_CHECKING:
    from evaluators.tasks.task import Task
    from evaluators.teachers.teacher import Teacher


@dataclass(frozen=True)
class Trained:
    """A finished training, or the finished part of one.

    ``state_dict`` holds the weights after its last epoch, on the CPU; ``val_accuracy`` is their score on the
    validation split, ``agreement`` the share of it on which the answer of the reference is theirs (None where none
    was given); ``seconds`` is its wall time, without that of earlier parts.
    """

    state_dict: dict[str, Tensor]
    val_accuracy: float
    agreement: float | None
    history: tuple[EpochFigures, ...]
    seconds: float


def train_student(
    network: nn.Module,
    task: Task,
    *,
    resolution: int,
    distiller: Distiller,
    teacher_outputs: TeacherOutputs | None,
    schedule: Schedule,
    seed: int,
    device: str = "cpu",
    step_guard: Guard = nullcontext,
    on_epoch: Callable[[EpochFigures], None] | None = None,
    teacher: Teacher | None = None,
    reference: TeacherOutputs | None = None,
    stretch: Stretch | None = None,
) -> Trained:
    """Teach ``network`` in place; it is left in evaluation mode, on the CPU, with the trained weights.

    ``seed`` fixes the order of the samples and every random layer; with the same initial weights (see
    ``seeded``) and number of threads the outcome on a CPU is the same to the bit, in any process.
    ``step_guard`` is entered around each step and each batch of validation. ``teacher`` is needed only by a
    distiller that ``needs_network``; ``reference`` is whose answers the student's are compared with at the end. An
    exception raised by ``on_epoch`` ends the training.

    With a ``stretch`` only a part of the schedule is gone through, at the learning rates that the whole has there;
    several, one after the other and in any process, lead to the weights of an unbroken training, to the bit on a
    CPU. ``on_epoch`` hears of the earlier epochs again.

    Raises ``TrainError`` when loss or gradient stop being finite, ``ConfigError`` when the distiller needs a
    source or a layer that is not there.
    """
    start = time.perf_counter()
    with seeded(seed), ExitStack() as stack:
        first = moved(task.batch("train", np.arange(1), resolution), device)
        lay_out(network.to(device), first)
        check_answers(distiller, task)
        check_teacher(distiller, teacher)
        distiller = distiller.attached(network, teacher, first)
        source = teacher_signals(distiller, task, teacher_outputs, teacher, device, stack)
        capture = stack.enter_context(FeatureCapture(network, distiller.student_layers, "student"))
        steps = Steps(network, task, resolution, distiller, source, capture, schedule, device)
        until = schedule.epochs if stretch is None else stretch.until
        history = [] if stretch is None else _resumed(stretch, steps, step_guard, on_epoch)
        orders = islice(_orders(len(task.targets("train")), until, seed), len(history), None)
        logits = None
        for epoch, order in enumerate(orders, len(history)):
            began = time.perf_counter()
            losses = steps.epoch(epoch, order, step_guard, history)
            score = None
            if schedule.validates(epoch) or epoch + 1 == until:
                logits = predict_logits(network, task, "val", resolution, device=device, guard=step_guard)
                score = task.score(logits, task.targets("val"))
            seconds = time.perf_counter() - began
            history.append(EpochFigures(epoch + 1, schedule.epochs, *losses, score, seconds))
            if on_epoch is not None:
                on_epoch(history[-1])
            if stretch is not None and epoch + 1 < schedule.epochs and stretch.is_due(epoch + 1):
                stretch.keep({"steps": steps.state(), "history": [astuple(figures) for figures in history]})
        if logits is None:  # all of this part was done before
            logits = predict_logits(network, task, "val", resolution, device=device, guard=step_guard)
    network.eval().to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    same = None if reference is None else task.agreement(logits, np.array(reference.logits("val")))
    state = {name: value.detach().clone() for name, value in network.state_dict().items()}
    assert history[-1].val_accuracy is not None
    return Trained(state, history[-1].val_accuracy, same, tuple(history), time.perf_counter() - start)


def _resumed(
    stretch: Stretch,
    steps: Steps,
    guard: Guard,
    on_epoch: Callable[[EpochFigures], None] | None,
) -> list[EpochFigures]:
    """The epochs that are done already, with everything as it stood after them; none where nothing was kept."""
    kept = stretch.load()
    if kept is None or len(kept["history"]) > stretch.until:
        return []
    history = [EpochFigures(*figures) for figures in kept["history"]]
    for figures in history:
        if on_epoch is not None:
            on_epoch(figures)
    epoch = min(len(history), stretch.until - 1)
    steps.put_back(kept["steps"], epoch, guard)
    return history


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Torch's global generators at ``seed`` inside, and as they were again outside.

    For code that can take no generator: the initial weights of a network, random layers.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def _orders(samples: int, epochs: int, seed: int) -> Iterator[np.ndarray]:
    generator = np.random.default_rng(seed)
    for _ in range(epochs):
        yield generator.permutation(samples)
