"""What stays the same from candidate to candidate, opened once in each process."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from evaluators.compile.tune.search import Tuner
from evaluators.device import Device
from evaluators.distill.distiller import Distiller
from evaluators.distill.schedule import Schedule
from evaluators.distill.teacher_outputs import TeacherOutputs
from evaluators.tasks.image_task import ImageTask
from hw_profiles.profile import Profile
from results.budget import Budget
from spaces.space import Space


@dataclass(frozen=True)
class Workbench:
    """Everything an evaluation needs beside the choice.

    ``working`` is entered around work that would disturb a measurement; ``scratch`` is where a candidate's
    library lies while the device needs it; ``seed`` is the run's, from which each candidate's own is derived;
    ``torch_device`` is where training happens (``cpu`` or ``cuda``); ``tuner`` measures kernels before a candidate
    is compiled.
    """

    space: Space
    task: ImageTask
    teacher_outputs: TeacherOutputs
    distiller: Distiller
    schedule: Schedule
    final_schedule: Schedule
    profile: Profile
    device: Device
    budget: Budget
    working: Callable[[], AbstractContextManager[object]]
    scratch: Path
    seed: int
    torch_device: str = "cpu"
    tuner: Tuner | None = None
