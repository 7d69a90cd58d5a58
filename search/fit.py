"""Before the first candidate: do the networks fit the ways of teaching, and does the smallest fit the budget?"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from results.measurement import metric_of
from results.store import RunStore
from search.display import Display
from search.plan import Plan
from understudy import ConfigError, TeacherError

if TYPE_CHECKING:
    from evaluators.distill.distiller import Distiller
    from evaluators.tasks.task import Task
    from evaluators.teachers.teacher import Teacher


def fitting_methods(plan: Plan, task: Task, teacher: Teacher | None, store: RunStore) -> tuple[str, ...]:
    """The ways of teaching that the search chooses among, those with which it began; () where it has one way only.

    Raises ``ConfigError`` or ``TeacherError`` where these networks do not fit the one way, or too few of several.
    """
    from evaluators.distill.auto import auto_methods, usable_methods
    from evaluators.distill.catalogue import load_distiller

    distill = plan.config.distill or task.distill
    usable = usable_methods(distill, teacher is not None)
    if auto_methods(distill) is None:
        check_distiller(load_distiller(distill), plan, task, teacher)
        return ()
    known = store.facts().get("methods")
    fitting = tuple(known or (name for name in usable if _fits(load_distiller(name), plan, task, teacher)))
    if len(fitting) < 2:
        raise ConfigError(
            f"--distill {distill} has nothing to choose, as teacher and students have no layers to "
            "compare: name several methods that compare outputs"
        )
    return fitting


def _fits(distiller: Distiller, plan: Plan, task: Task, teacher: Teacher | None) -> bool:
    try:
        check_distiller(distiller, plan, task, teacher)
    except (ConfigError, TeacherError):
        return False
    return True


def check_distiller(distiller: Distiller, plan: Plan, task: Task, teacher: Teacher | None) -> None:
    """Refuse a teacher without the layers that are read, and layers that the smallest student does not have."""
    import numpy as np

    from evaluators.distill.places import check_answers
    from evaluators.distill.teacher_signals import check_teacher

    check_answers(distiller, task)
    check_teacher(distiller, teacher)
    if distiller.needs_network:
        space = plan.space()
        choice = space.smallest()
        images = task.batch("train", np.arange(1), space.resolution(choice))
        distiller.attached(space.build(choice), teacher, images)


def hold_smallest(plan: Plan, task: Task, store: RunStore, display: Display) -> None:
    """Before the first candidate, refuse a budget that no student can be within, and tell what stays in floats."""
    if store.candidates():
        return
    with display.stage("smallest student and the space's inputs"):
        kept = _check_smallest(plan, task)
    if kept:
        display.note(f"note: these layers stay in float32: {', '.join(kept)}")


def _check_smallest(plan: Plan, task: Task) -> tuple[str, ...]:
    """Compile and measure the smallest student; raises ``ConfigError`` when even that is over the budget.

    Returns the layers that should compute in integers and cannot.
    """
    from evaluators.candidate import build_student, real_inputs
    from evaluators.cost import cost_of
    from evaluators.quantise.prepare import kept_in_float
    from evaluators.stages import Stages

    bench = plan.open()
    task.prepare(bench.space.resolutions)
    choice = bench.space.smallest()
    network = build_student(bench, choice, 0)
    with tempfile.TemporaryDirectory(prefix="understudy-") as folder, ExitStack() as devices:
        for target in bench.targets:
            devices.callback(target.close)
        inputs = real_inputs(bench, bench.space.resolution(choice))
        figures = cost_of(bench, network, inputs, Path(folder), Stages())
    broken = bench.goals.violation(figures)
    if broken:
        reached = ", ".join(f"{metric_of(name).heading} {figure}" for name, figure in figures.items())
        raise ConfigError(
            f"the budget is below the smallest student of {bench.space.name}: {broken} (it reaches {reached}). "
            "Raise the limit, or search a smaller space"
        )
    return kept_in_float(network) if bench.precision is not None else ()
