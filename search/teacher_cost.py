"""What the teacher costs on a target, compiled as a student would be: before a search and beside its students."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Any

import numpy as np

from results.budget import Budget
from results.bundle.runner import as_tuple
from results.goals import Goal
from results.store import RunStore
from search.display import Display
from search.plan import Plan
from search.rounds import Entrant
from understudy import DeviceLost, UnderstudyError

if TYPE_CHECKING:
    from torch import nn

    from evaluators.device import Device
    from evaluators.target import Target
    from evaluators.tasks.task import Task
    from evaluators.teachers.teacher import Teacher
    from hw_profiles.profile import Profile

_INPUTS = "inputs.npz"


def teacher_cost(
    plan: Plan,
    profile: Profile,
    goal: Goal,
    task: Task,
    teacher: Teacher | None,
    store: RunStore,
    display: Display,
) -> dict[str, Any]:
    """Latency and size of the teacher on a target, as known or found now; nothing where that is impossible.

    Where the target is measured, what was compiled is kept in the run until its students are compared.
    """
    if teacher is None:
        return {}
    before = store.facts()
    known: dict[str, Any] | None = before.get("targets", {"": before}).get(goal.target, {}).get("teacher_cost")
    if known is not None and (not known or not plan.measured(profile) or compiled_teacher(plan, goal)):
        return known
    if teacher.module is None:
        display.note("note: the teacher is not one torch network, so its latency is not known")
        return {}
    on = f" on {goal.target}" if goal.target else ""
    with display.stage(f"teacher's latency{on}"):
        try:
            with closing(plan.target(profile, goal)) as target:
                return _cost_on(plan, target, goal, task, teacher, teacher.module)
        except (UnderstudyError, RuntimeError) as error:
            _library(plan, goal).unlink(missing_ok=True)
            display.note(f"note: the teacher's latency{on} is not known: {error}")
            return known or {}


def teacher_beside(
    plan: Plan, profile: Profile, goal: Goal, task: Task, device: Device, note: Callable[[str], None]
) -> Entrant | None:
    """The teacher compiled for a profile, and compared with torch on its device; None where that cannot be.

    Why is noted. ``forget_compiled_teacher`` takes it away. Raises ``DeviceLost``.
    """
    from search.teacher import open_teacher

    if not plan.config.teachers:
        return None
    try:
        teacher = open_teacher(plan.config, task, plan.cache)
        if teacher.module is None:
            return None
        _cost_on(plan, plan.target(profile, goal, device), goal, task, teacher, teacher.module)
    except DeviceLost:
        raise
    except (UnderstudyError, RuntimeError) as error:
        note(f"the teacher could not be measured, its earlier latency stands: {error}")
        return None
    return compiled_teacher(plan, goal)


def compiled_teacher(plan: Plan, goal: Goal) -> Entrant | None:
    """The teacher as it was compiled for a target of the run, if it was."""
    library = _library(plan, goal)
    with suppress(OSError, ValueError):
        if library.exists():
            with np.load(library.with_name(_INPUTS), allow_pickle=False) as held:
                return Entrant("the teacher", library, tuple(held[name] for name in held.files))
    return None


def forget_compiled_teacher(plan: Plan) -> None:
    """Take away what was compiled of the teacher, which may be large."""
    rmtree(_folder(plan), ignore_errors=True)


def _folder(plan: Plan) -> Path:
    return plan.run / ".scratch" / "teacher"


def _library(plan: Plan, goal: Goal) -> Path:
    from evaluators.cost import library_name

    return _folder(plan) / library_name(goal)


def _cost_on(
    plan: Plan, target: Target, goal: Goal, task: Task, teacher: Teacher, network: nn.Module
) -> dict[str, Any]:
    """The teacher's network compiled, and checked and measured (or predicted) as a student would be."""
    from evaluators.compile.export import import_network
    from evaluators.compile.verify import expected_outputs
    from evaluators.cost import Imported, as_arrays, cost_on
    from evaluators.programs import programs_of
    from evaluators.stages import Stages
    from spaces.batch import parts

    program, *_ = programs_of(network, task.images("val", np.arange(1), teacher.resolution))
    expected = expected_outputs(program.network, *parts(program.inputs))
    module = import_network(program.network, program.example)
    library, inputs = _library(plan, goal), as_arrays(program.inputs)
    library.parent.mkdir(parents=True, exist_ok=True)
    np.savez(library.with_name(_INPUTS), *as_tuple(inputs), allow_pickle=False)
    free = replace(target, goal=Goal("", plan.config.objectives, Budget()))
    found = cost_on(free, [Imported(module, inputs, expected)], library, nullcontext, Stages())
    return {name: found[name].to_json() for name in ("latency", "size")}
