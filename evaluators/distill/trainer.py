"""Teaching one network: the loop over epochs and steps."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from evaluators.distill.distiller import Distiller, Loss
from evaluators.distill.evaluate import Guard, agreement, batches, predict_logits
from evaluators.distill.features import FeatureCapture
from evaluators.distill.schedule import Schedule
from evaluators.distill.signals import Signals
from evaluators.distill.teacher_outputs import TeacherOutputs
from evaluators.distill.teacher_signals import TeacherSignals, teacher_signals
from understudy import TrainError

if TYPE_CHECKING:
    from evaluators.tasks.image_task import ImageTask
    from evaluators.teachers.teacher import Teacher

MOMENTUM = 0.9
MAX_GRADIENT_NORM = 5.0


@dataclass(frozen=True)
class EpochFigures:
    """One epoch, counted from 1: mean losses over its steps, and the validation score where it was taken."""

    epoch: int
    epochs: int
    loss: float
    task_loss: float
    distillation_loss: float
    val_accuracy: float | None
    seconds: float


@dataclass(frozen=True)
class Trained:
    """A finished training.

    ``state_dict`` holds the weights after the last epoch, on the CPU; ``val_accuracy`` is their score on the
    validation split, ``agreement`` the share of it on which the teacher's answer is theirs (None where no
    teacher's outputs were given); ``seconds`` is the whole training's wall time.
    """

    state_dict: dict[str, Tensor]
    val_accuracy: float
    agreement: float | None
    history: tuple[EpochFigures, ...]
    seconds: float


def train_student(
    network: nn.Module,
    task: ImageTask,
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
) -> Trained:
    """Teach ``network`` in place; it is left in evaluation mode, on the CPU, with the trained weights.

    ``seed`` fixes the order of the samples and every random layer; with the same initial weights (see
    ``seeded``) and number of threads the outcome on a CPU is the same to the bit, in any process.
    ``step_guard`` is entered around each step and each batch of validation. ``teacher`` is needed only by a
    distiller that names teacher layers. An exception raised by ``on_epoch`` ends the training.

    Raises ``TrainError`` when loss or gradient stop being finite, ``ConfigError`` when the distiller needs a
    source or a layer that is not there.
    """
    start = time.perf_counter()
    with seeded(seed), ExitStack() as stack:
        lay_out(network.to(device), task.batch("train", np.arange(1), resolution).to(device))
        source = teacher_signals(distiller, task, teacher_outputs, teacher, device, stack)
        capture = stack.enter_context(FeatureCapture(network, distiller.student_layers, "student"))
        steps = _Steps(network, task, resolution, distiller, source, capture, schedule, device)
        history: list[EpochFigures] = []
        logits = torch.empty(0)
        for epoch, order in enumerate(_orders(len(task.targets("train")), schedule.epochs, seed)):
            began = time.perf_counter()
            losses = steps.epoch(epoch, order, step_guard, history)
            score = None
            if schedule.validates(epoch):
                logits = predict_logits(network, task, "val", resolution, device=device, guard=step_guard)
                score = task.score(logits, task.targets("val"))
            seconds = time.perf_counter() - began
            history.append(EpochFigures(epoch + 1, schedule.epochs, *losses, score, seconds))
            if on_epoch is not None:
                on_epoch(history[-1])
    network.eval().to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    same = None if teacher_outputs is None else agreement(logits, np.array(teacher_outputs.logits("val")))
    state = {name: value.detach().clone() for name, value in network.state_dict().items()}
    assert history[-1].val_accuracy is not None
    return Trained(state, history[-1].val_accuracy, same, tuple(history), time.perf_counter() - start)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Torch's global generators at ``seed`` inside, and as they were again outside.

    For code that can take no generator: the initial weights of a network, random layers.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def lay_out(network: nn.Module, images: Tensor) -> None:
    """Lay the weights out channels last, which makes a step on a CPU about twice as fast.

    A network that flattens feature maps with ``view`` cannot take it, and keeps its layout.
    """
    training = network.training
    network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    try:
        with torch.no_grad():
            network(images)
    except RuntimeError:
        network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    network.train(training)


class _Steps:
    """The steps of one training, and what they change: network, optimiser, the distiller's own parts."""

    def __init__(
        self,
        network: nn.Module,
        task: ImageTask,
        resolution: int,
        distiller: Distiller,
        source: TeacherSignals,
        capture: FeatureCapture,
        schedule: Schedule,
        device: str,
    ) -> None:
        self._network = network
        self._task = task
        self._resolution = resolution
        self._distiller = distiller
        self._source = source
        self._capture = capture
        self._schedule = schedule
        self._device = device
        self._targets = torch.as_tensor(np.array(task.targets("train")))
        self._optimiser: torch.optim.Optimizer | None = None
        self._parameters: list[nn.Parameter] = []

    def epoch(
        self, epoch: int, order: np.ndarray, guard: Guard, history: list[EpochFigures]
    ) -> tuple[float, float, float]:
        """One pass over the training images; the mean of the three losses."""
        self._network.train()
        parts = batches(order, self._schedule.batch_size)
        sums = np.zeros(3)
        for number, ids in enumerate(parts):
            rate = self._schedule.rate(epoch + number / len(parts))
            with guard():
                losses, norm = self._step(ids, self._schedule.view(epoch), rate)
            if not (math.isfinite(losses[0]) and math.isfinite(norm)):
                raise _diverged(epoch, number, len(parts), losses[0], history)
            sums += losses
        total, task, distillation = sums / len(parts)
        return float(total), float(task), float(distillation)

    def _step(self, ids: np.ndarray, view: int, rate: float) -> tuple[tuple[float, float, float], float]:
        loss = self._loss(ids, view)
        loss.total.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self._parameters, MAX_GRADIENT_NORM, foreach=True)
        assert self._optimiser is not None
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        return (loss.total.item(), loss.task.item(), loss.distillation.item()), float(norm)

    def _loss(self, ids: np.ndarray, view: int) -> Loss:
        images = self._task.batch("train", ids, self._resolution, view).to(self._device)
        with torch.autocast("cuda", torch.bfloat16, enabled=self._device.startswith("cuda")):
            logits = self._network(images)
        student = Signals(logits.float(), self._capture.features)
        teacher = self._source(ids, view)
        if self._optimiser is None:
            self._begin(student, teacher)
        return self._distiller.loss(student, teacher, self._targets[ids].to(self._device))

    def _begin(self, student: Signals, teacher: Signals) -> None:
        self._distiller = self._distiller.prepared(student, teacher)
        own = list(self._distiller.parameters())
        self._parameters = [*self._network.parameters(), *own]
        self._optimiser = _optimiser(self._parameters, self._schedule)


def _optimiser(parameters: list[nn.Parameter], schedule: Schedule) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum; no weight decay on biases and normalisation, which are one-dimensional."""
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": schedule.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, lr=schedule.learning_rate, momentum=MOMENTUM, nesterov=True, fused=True)


def _orders(samples: int, epochs: int, seed: int) -> Iterator[np.ndarray]:
    generator = np.random.default_rng(seed)
    for _ in range(epochs):
        yield generator.permutation(samples)


def _diverged(epoch: int, step: int, steps: int, loss: float, history: list[EpochFigures]) -> TrainError:
    last = (
        f"the last good epoch was {history[-1].epoch} with loss {history[-1].loss:.4g}"
        if history
        else "no epoch was good"
    )
    return TrainError(
        f"training diverged in epoch {epoch + 1}, step {step + 1} of {steps}, with loss {loss}; {last}: "
        "lower the learning rate, or check the images and the teacher"
    )
