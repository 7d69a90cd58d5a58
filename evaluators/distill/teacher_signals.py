"""Where a step's teacher signals come from: what is stored of the teacher, or the live one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from evaluators.distill.distiller import Distiller
from evaluators.distill.evaluate import Guard, batches
from evaluators.distill.feature_store import store_features, stored_features
from evaluators.distill.features import FeatureCapture
from evaluators.distill.layout import lay_out
from evaluators.distill.signals import Signals
from evaluators.distill.teacher_outputs import TeacherOutputs
from evaluators.tasks.pixels import locked
from spaces.batch import Batch, mapped, parts
from understudy import ConfigError, TeacherError

if TYPE_CHECKING:
    from evaluators.tasks.task import Task
    from evaluators.teachers.teacher import Teacher

BATCH = 128


class TeacherSignals(ABC):
    """A teacher's signals on the training images."""

    def open(self, view: int, guard: Guard) -> None:  # noqa: B027 (most sources have nothing to open)
        """Make ready for an epoch on a view; ``guard`` is entered around each batch of what that takes."""

    @abstractmethod
    def __call__(self, ids: np.ndarray, view: int) -> Signals:
        """The signals on the images of these ids, (B,), as the view shows them."""


def teacher_signals(
    distiller: Distiller,
    task: Task,
    outputs: TeacherOutputs | None,
    teacher: Teacher | None,
    device: str,
    stack: ExitStack,
) -> TeacherSignals:
    """The cheapest source that gives the distiller what it asks for.

    The live teacher's hooks are removed when ``stack`` closes. Raises ``ConfigError`` when the source that the
    distiller needs is not given, ``TeacherError`` for layers of a teacher that has no module.
    """
    if not distiller.uses_teacher:
        return _Nothing()
    if distiller.teacher_layers:
        check_teacher(distiller, teacher)
        live = _Live(distiller, task, teacher, device, stack)
        return live if outputs is None else _StoredLayers(outputs, live, task, device)
    if outputs is None:
        raise ConfigError(f"distiller {distiller.name!r} learns from a teacher: give the teacher's outputs")
    return _Stored(outputs, task, device)


def check_teacher(distiller: Distiller, teacher: Teacher | None) -> None:
    """Refuse a teacher that lacks what the distiller reads.

    Raises ``ConfigError`` where only the teacher's outputs are given, ``TeacherError`` for one without layers.
    """
    if not distiller.needs_network:
        return
    if teacher is None:
        raise ConfigError(
            f"distiller {distiller.name!r} reads layers of the teacher: give the teacher, not only its outputs"
        )
    if teacher.module is None:
        raise TeacherError(
            f"teacher {teacher.name} is not a PyTorch module, so it has no layers for distiller "
            f"{distiller.name!r}: use a method that compares outputs, such as --distill soft-targets"
        )


class _Nothing(TeacherSignals):
    """No teacher."""

    def __call__(self, ids: np.ndarray, view: int) -> Signals:
        return Signals.none()


class _Stored(TeacherSignals):
    """The stored logits."""

    def __init__(self, outputs: TeacherOutputs, task: Task, device: str) -> None:
        self._outputs, self._task, self._device = outputs, task, device
        self._opened: dict[int, np.ndarray] = {}

    def __call__(self, ids: np.ndarray, view: int) -> Signals:
        if view not in self._opened:
            self._opened[view] = self._outputs.logits("train", view)
        return Signals(self._task.restored(torch.from_numpy(self._opened[view][ids]).to(self._device)))


class _Live(TeacherSignals):
    """Logits and layers from a pass of the teacher itself."""

    def __init__(
        self, distiller: Distiller, task: Task, teacher: Teacher | None, device: str, stack: ExitStack
    ) -> None:
        assert teacher is not None
        assert teacher.module is not None
        self.layers = distiller.teacher_layers
        self._task, self._resolution, self._device = task, teacher.resolution, device
        self._module = teacher.module.eval().to(device)
        lay_out(self._module, self._images(np.arange(1), 0))
        self._capture = stack.enter_context(FeatureCapture(self._module, self.layers, "teacher"))

    def __call__(self, ids: np.ndarray, view: int) -> Signals:
        images = self._images(ids, view)
        with torch.no_grad(), torch.autocast("cuda", torch.bfloat16, enabled=self._device.startswith("cuda")):
            logits = self._module(*parts(images))
        return Signals(logits.float(), {name: value.float() for name, value in self._capture.features.items()})

    def _images(self, ids: np.ndarray, view: int) -> Batch:
        return mapped(self._placed, self._task.images("train", ids, self._resolution, view))

    def _placed(self, part: torch.Tensor) -> torch.Tensor:
        there = part.to(self._device)
        return there.contiguous(memory_format=torch.channels_last) if there.ndim == 4 else there


class _StoredLayers(TeacherSignals):
    """Logits and layers as stored, written on first use; from the live teacher where they do not fit."""

    def __init__(self, outputs: TeacherOutputs, live: _Live, task: Task, device: str) -> None:
        self._logits, self._live, self._task, self._device = _Stored(outputs, task, device), live, task, device
        self._folder: Path = outputs.folder / "features"
        self._opened: dict[int, Mapping[str, np.ndarray] | None] = {}

    def open(self, view: int, guard: Guard) -> None:
        view = self._as_seen(view)
        if view in self._opened:
            return
        self._folder.mkdir(exist_ok=True)
        layers, samples = self._live.layers, self._task.size("train")
        with locked(self._folder / ".lock"):
            for leftover in self._folder.glob(".*.tmp"):  # of a worker that was killed: nobody else writes now
                leftover.unlink(missing_ok=True)
            found = stored_features(self._folder, layers, view, samples)
            if found is None and store_features(self._folder, lambda: self._pass(view, guard), view, samples):
                found = stored_features(self._folder, layers, view, samples)
        self._opened[view] = found

    def __call__(self, ids: np.ndarray, view: int) -> Signals:
        stored = self._opened.get(self._as_seen(view))
        if stored is None:
            return self._live(ids, view)
        features = {name: torch.from_numpy(array[ids]).to(self._device).float() for name, array in stored.items()}
        return Signals(self._logits(ids, view).logits, features)

    def _as_seen(self, view: int) -> int:
        return view if self._task.varied else 0

    def _pass(self, view: int, guard: Guard) -> Iterator[dict[str, np.ndarray]]:
        for ids in batches(np.arange(self._task.size("train")), BATCH):
            with guard():
                features = self._live(ids, view).features
                part = {name: value.cpu().numpy() for name, value in features.items()}
            yield part
