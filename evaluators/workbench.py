"""What stays the same from candidate to candidate, opened once in each process."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from evaluators.distill.auto import teaching_text
from evaluators.distill.catalogue import load_distiller
from evaluators.distill.distiller import Distiller
from evaluators.distill.schedule import Schedule
from evaluators.distill.teacher_outputs import TeacherOutputs
from evaluators.quantise.precision import Precision
from evaluators.target import Target
from evaluators.tasks.task import Task
from evaluators.teachers.teacher import Teacher
from results.goals import Goals
from spaces.choice import Choice
from spaces.space import Space

if TYPE_CHECKING:
    from spaces.supernet import Supernet


@dataclass(frozen=True)
class Workbench:
    """Everything an evaluation needs beside the choice.

    ``working`` is entered around work that would disturb a measurement; ``scratch`` is where a candidate's
    library lies while the device needs it; ``seed`` is the run's, from which each candidate's own is derived;
    ``torch_device`` is where training happens (``cpu`` or ``cuda``). ``open_teacher`` loads the teacher itself,
    which most ways of teaching never need: their share of it is ``teacher_outputs``, None where nobody teaches.
    Where an assistant teaches, both are the assistant's; ``reference`` are the outputs of the teacher itself on
    clean images, with which agreement is measured.
    ``distiller`` is None in a search that chooses it for each candidate.
    With a ``precision`` students learn and are delivered in integers.
    With a ``supernet`` students begin with its weights; where it is ``trusted``, candidates are scored as they
    begin instead of being taught.
    """

    space: Space
    task: Task
    teacher_outputs: TeacherOutputs | None
    reference: TeacherOutputs | None
    distiller: Distiller | None
    schedule: Schedule
    final_schedule: Schedule
    targets: tuple[Target, ...]
    working: Callable[[], AbstractContextManager[object]]
    scratch: Path
    seed: int
    open_teacher: Callable[[], Teacher]
    torch_device: str = "cpu"
    precision: Precision | None = None
    supernet: Supernet | None = None
    trusted: bool = False

    @cached_property
    def teacher(self) -> Teacher:
        """The teacher itself, loaded on first use; raises ``TeacherError`` when it cannot be."""
        return self.open_teacher()

    def distiller_for(self, choice: Choice) -> Distiller:
        """How the student of a choice is taught."""
        return self.distiller or load_distiller(teaching_text(choice))

    def teacher_for(self, distiller: Distiller) -> Teacher | None:
        """The teacher if the distiller needs more of it than its stored outputs."""
        return self.teacher if distiller.needs_network else None

    @property
    def goals(self) -> Goals:
        """What the search is after, on each target."""
        return Goals(tuple(target.goal for target in self.targets))
