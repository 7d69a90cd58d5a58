"""Where a step's teacher signals come from: the stored outputs, or the live teacher."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from evaluators.distill.distiller import Distiller
from evaluators.distill.features import FeatureCapture
from evaluators.distill.signals import Signals
from evaluators.distill.teacher_outputs import TeacherOutputs
from understudy import ConfigError, TeacherError

if TYPE_CHECKING:
    from evaluators.tasks.image_task import ImageTask
    from evaluators.teachers.teacher import Teacher

TeacherSignals = Callable[[np.ndarray, int], Signals]
"""From the ids of training images and their view to the teacher's signals on them."""


def teacher_signals(
    distiller: Distiller,
    task: ImageTask,
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
        return lambda ids, view: Signals.none()
    if distiller.teacher_layers:
        return _live(distiller, task, teacher, device, stack)
    if outputs is None:
        raise ConfigError(f"distiller {distiller.name!r} learns from a teacher: give the teacher's outputs")
    return _stored(outputs, device)


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


def _stored(outputs: TeacherOutputs, device: str) -> TeacherSignals:
    opened: dict[int, np.ndarray] = {}

    def signals(ids: np.ndarray, view: int) -> Signals:
        if view not in opened:
            opened[view] = outputs.logits("train", view)
        return Signals(torch.from_numpy(opened[view][ids]).to(device))

    return signals


def _live(
    distiller: Distiller, task: ImageTask, teacher: Teacher | None, device: str, stack: ExitStack
) -> TeacherSignals:
    assert teacher is not None
    assert teacher.module is not None
    module: nn.Module = teacher.module.eval().to(device)
    capture = stack.enter_context(FeatureCapture(module, distiller.teacher_layers, "teacher"))

    def signals(ids: np.ndarray, view: int) -> Signals:
        with torch.no_grad():
            logits = module(task.images("train", ids, teacher.resolution, view).to(device))
        return Signals(logits.float(), dict(capture.features))

    return signals
