"""A teacher's assistant: a middle network that learns from the teacher and teaches the students.

Where a student is far smaller than its teacher it may learn more from a network between them (Mirzadeh et al.,
2020). The assistant is the built-in residual network at a middle width, taught once and kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from evaluators.distill.methods.response import SoftTargets
from evaluators.distill.schedule import MAX_VIEWS, Schedule
from evaluators.distill.stretch import Stretch
from evaluators.distill.teacher_outputs import TeacherOutputs
from evaluators.distill.trainer import seeded, train_student
from evaluators.tasks.image_task import ImageTask
from evaluators.tasks.task import Task
from evaluators.teachers.builtin import teacher_schedule
from evaluators.teachers.kept import trained_once
from evaluators.teachers.named import AUTO, parse_width
from evaluators.teachers.residual import WIDTH, ResidualNet
from evaluators.teachers.teacher import ModuleTeacher, Normalised, Teacher
from understudy import ConfigError

LARGE_GAP = 100
"""From this many times the parameters of the smallest student on, ``auto`` puts an assistant between."""


def assistant_width(wanted: str, teacher: Teacher, student: nn.Module, task: Task) -> float | None:
    """The width that ``wanted`` asks for: ``auto``, or a share of the built-in network's above 0.

    ``auto`` is the width whose parameters are the geometric mean of the teacher's and the smallest student's,
    and None where the gap is below ``LARGE_GAP`` or the teacher's parameters are not known. Raises
    ``ConfigError`` for another text, and for data that are no images.
    """
    if not isinstance(task, ImageTask):
        raise ConfigError("an assistant is a residual network for images, and the data are none: leave it out")
    if wanted != AUTO:
        return parse_width(wanted)
    if teacher.module is None or _parameters(teacher.module) < LARGE_GAP * _parameters(student):
        return None
    whole = _parameters(_network(task, 1.0))
    return math.sqrt(math.sqrt(_parameters(teacher.module) * _parameters(student)) / whole)


def assistant_schedule(samples: int) -> Schedule:
    """The training of an assistant: that of the built-in teacher, on views that the teacher has answered."""
    schedule = teacher_schedule(samples)
    return replace(schedule, views=min(schedule.views, MAX_VIEWS))


def taught_assistant(
    task: Task,
    teacher: Teacher,
    outputs: TeacherOutputs,
    *,
    width: float,
    cache: Path,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
    device: str = "cpu",
) -> Teacher:
    """The assistant of a teacher, taught by its stored outputs unless ``cache`` holds it already.

    ``outputs`` must cover the views of ``assistant_schedule``. ``progress`` is told epochs done and epochs in
    all. Raises ``TrainError`` when the training diverges.
    """
    schedule, distiller = assistant_schedule(task.size("train")), SoftTargets()
    with seeded(seed):
        network = _network(task, width)
    parts = (task.fingerprint, teacher.fingerprint, str(task.augment), str(network), str(schedule), str(distiller))
    name = f"assistant-{width:.2g} of {teacher.name}"

    def train(unfinished: Path) -> Mapping[str, Any]:
        trained = train_student(
            network,
            task,
            resolution=task.image_size,
            distiller=distiller,
            teacher_outputs=outputs,
            schedule=schedule,
            seed=seed,
            device=device,
            on_epoch=lambda now: None if progress is None else progress(now.epoch, now.epochs),
            stretch=Stretch(schedule.epochs, unfinished, unfinished.name),
        )
        return {"name": name, "val_accuracy": trained.val_accuracy, "seconds": trained.seconds}

    key = trained_once(network, (*parts, str(seed)), cache, train)
    return ModuleTeacher(
        Normalised(network.eval(), task.mean, task.std),
        name=name,
        classes=task.classes,
        channels=task.channels,
        resolution=task.image_size,
        fingerprint=f"assistant-{key}",
    )


def _network(task: Task, width: float) -> ResidualNet:
    # channels by eights: torch 2.13 corrupts memory in a channels-last 1x1 convolution of stride 2 from 4 to 8
    first = max(8, 8 * round(width * WIDTH / 8))
    return ResidualNet(task.channels, task.classes, task.image_size, first)


def _parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
