"""What a supernet is taught with."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evaluators.distill.distiller import Distiller
from evaluators.distill.evaluate import Guard
from evaluators.distill.schedule import Schedule
from evaluators.distill.teacher_outputs import TeacherOutputs

if TYPE_CHECKING:
    from evaluators.tasks.task import Task
    from evaluators.teachers.teacher import Teacher


@dataclass(frozen=True)
class Lesson:
    """What a supernet is taught with; the fields are those of ``train_student``."""

    task: Task
    distiller: Distiller
    outputs: TeacherOutputs | None
    teacher: Teacher | None
    schedule: Schedule
    seed: int
    device: str = "cpu"
    guard: Guard = nullcontext
