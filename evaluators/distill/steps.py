"""The steps of a training: signals, loss, gradient, update; and what they change."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from evaluators.distill.depthwise import quick_depthwise
from evaluators.distill.distiller import Distiller, Loss
from evaluators.distill.evaluate import Guard, batches
from evaluators.distill.features import FeatureCapture
from evaluators.distill.places import each_place
from evaluators.distill.schedule import Schedule
from evaluators.distill.signals import Signals
from evaluators.distill.stretch import put_back
from evaluators.distill.teacher_signals import TeacherSignals
from spaces.batch import moved, parts
from understudy import TrainError

if TYPE_CHECKING:
    from evaluators.tasks.task import Task

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


class Steps:
    """The steps of one training, and what they change: network, optimiser, the distiller's own parts."""

    def __init__(
        self,
        network: nn.Module,
        task: Task,
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
        self._labelled = task.labelled
        self._optimiser: torch.optim.Optimizer | None = None
        self._parameters: list[nn.Parameter] = []

    def epoch(
        self, epoch: int, order: np.ndarray, guard: Guard, history: list[EpochFigures]
    ) -> tuple[float, float, float]:
        """One pass over the training images; the mean of the three losses."""
        self._network.train()
        self._source.open(self._schedule.view(epoch), guard)
        parts = self._batches(order)
        sums = np.zeros(3)
        for number, ids in enumerate(parts):
            with guard():
                losses, norm = self._step(ids, self._schedule.view(epoch), epoch + number / len(parts))
            if not (math.isfinite(losses[0]) and math.isfinite(norm)):
                raise _diverged(epoch, number, len(parts), losses[0], history)
            sums += losses
        total, task, distillation = sums / len(parts)
        return float(total), float(task), float(distillation)

    def state(self) -> dict[str, Any]:
        """Where the training stands, for ``put_back``: tensors and plain values only."""
        assert self._optimiser is not None
        cuda = torch.cuda.get_rng_state(self._device) if self._device.startswith("cuda") else None
        return {
            "network": self._network.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "distiller": self._distiller.state(),
            "random": torch.get_rng_state(),
            "random_cuda": cuda,
        }

    def put_back(self, state: Mapping[str, Any], epoch: int, guard: Guard) -> None:
        """Go on from where another process stood before ``epoch`` (from 0).

        What learns along and the optimiser come into being with a first batch, which leaves no trace.
        """
        view = self._schedule.view(epoch)
        self._network.train()
        self._source.open(view, guard)
        with guard():
            self._loss(self._batches(np.arange(len(self._labelled)))[0], view, epoch / self._schedule.epochs)
        assert self._optimiser is not None
        put_back(self._network, state["network"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._optimiser.zero_grad(set_to_none=True)
        self._distiller.put_back(state["distiller"])
        torch.set_rng_state(state["random"])
        if state["random_cuda"] is not None and self._device.startswith("cuda"):
            torch.cuda.set_rng_state(state["random_cuda"], self._device)

    def _batches(self, order: np.ndarray) -> list[np.ndarray]:
        return labelled_batches(order, self._labelled, self._schedule.batch_size, self._distiller.uses_teacher)

    def _step(self, ids: np.ndarray, view: int, epoch: float) -> tuple[tuple[float, float, float], float]:
        loss = self._loss(ids, view, epoch / self._schedule.epochs)
        loss.total.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self._parameters, MAX_GRADIENT_NORM, foreach=True)
        assert self._optimiser is not None
        for group in self._optimiser.param_groups:
            group["lr"] = self._schedule.rate(epoch)
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        return (loss.total.item(), loss.task.item(), loss.distillation.item()), float(norm)

    def _loss(self, ids: np.ndarray, view: int, progress: float) -> Loss:
        samples = moved(self._task.batch("train", ids, self._resolution, view), self._device)
        autocast = torch.autocast("cuda", torch.bfloat16, enabled=self._device.startswith("cuda"))
        with autocast, quick_depthwise(self._network):
            logits = self._network(*parts(samples))
        student = Signals(logits.float(), self._capture.features, samples, torch.from_numpy(ids), progress)
        teacher = self._source(ids, view)
        targets = self._task.taught(ids, view).to(self._device) if self._labelled[ids[0]] else None
        if not self._task.dense:
            return self._judged(student, teacher, targets)
        asked = teacher.logits if self._distiller.uses_teacher else None
        beside = self._task.beside(student.logits, asked, ids, view)
        channels, sides = self._task.class_channels, self._task.map_sides
        places = None if targets is None else targets.flatten()
        loss = self._judged(each_place(student, channels, sides), each_place(teacher, channels, sides), places)
        return loss if beside is None else replace(loss, total=loss.total + beside, task=loss.task + beside)

    def _judged(self, student: Signals, teacher: Signals, targets: torch.Tensor | None) -> Loss:
        if self._optimiser is None:
            self._begin(student, teacher)
        return self._distiller.loss(student, teacher, targets)

    def _begin(self, student: Signals, teacher: Signals) -> None:
        self._distiller = self._distiller.prepared(student, teacher)
        own = list(self._distiller.parameters())
        self._parameters = [*self._network.parameters(), *own]
        self._optimiser = make_optimiser(self._parameters, self._schedule)


def labelled_batches(order: np.ndarray, labelled: np.ndarray, size: int, uses_teacher: bool) -> list[np.ndarray]:
    """The samples in an epoch's order, in batches of about ``size`` that have labels throughout or nowhere.

    ``labelled`` says by sample whether it has one; those without teach only where there is a teacher.
    """
    known = labelled[order]
    parts = batches(order[known], size)
    rest = order[~known]
    if len(rest) < 2 or not uses_teacher:  # batch norms cannot learn from one sample
        return parts
    parts += batches(rest, size)
    place = np.argsort(order)
    return sorted(parts, key=lambda ids: int(place[ids[0]]))


def make_optimiser(parameters: list[nn.Parameter], schedule: Schedule) -> torch.optim.Optimizer:
    """That of the schedule; no weight decay on biases and normalisation, which are one-dimensional."""
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": schedule.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if schedule.optimiser == "adamw":
        return torch.optim.AdamW(groups, lr=schedule.learning_rate, fused=True)
    return torch.optim.SGD(groups, lr=schedule.learning_rate, momentum=MOMENTUM, nesterov=True, fused=True)


def _diverged(epoch: int, step: int, steps: int, loss: float, history: list[EpochFigures]) -> TrainError:
    last = (
        f"the last good epoch was {history[-1].epoch} with loss {history[-1].loss:.4g}"
        if history
        else "no epoch was good"
    )
    return TrainError(
        f"training diverged in epoch {epoch + 1}, step {step + 1} of {steps}, with loss {loss}; {last}: "
        "check the images and the teacher, or give it 4 epochs or more, of which the first warms up slowly "
        "(--epochs, --final-epochs)"
    )
