"""Before the first candidate: data, teacher, the teacher's outputs, and what the smallest student costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from results.measurement import Measurement, metric_of
from results.store import RunStore
from search.checks import check_kind, check_names
from search.config import BLOCKS, SearchConfig
from search.display import Display
from search.facts import check_same, facts_of, origin_of, taught_by
from search.fit import check_distiller, fitting_methods, hold_smallest
from search.plan import Plan
from search.synthesis import NONE, synthetic_data
from search.teacher import answers_of, open_assistant, open_teacher
from search.teacher_cost import teacher_cost

if TYPE_CHECKING:
    from evaluators.tasks.task import Task
    from evaluators.teachers.teacher import Teacher

CACHE = ".cache"


@dataclass(frozen=True)
class Prepared:
    """What the search starts from; ``facts`` goes into the run's ``run.json``."""

    plan: Plan
    facts: Mapping[str, Any]


def prepare(config: SearchConfig, store: RunStore, display: Display) -> Prepared:
    """Load the data, hold the smallest student to the budget, load the teacher, compute what all trials share.

    Everything lands in a cache beside the runs, addressed by content, so that it is made once. Raises
    ``UnderstudyError`` for whatever the user must mend, also when a run would go on with another teacher, other
    data or on another processor than it began with.
    """
    from evaluators.distill.allocator import keep_freed_memory
    from evaluators.supernet.blocks import BlockWise, check_features, check_stages

    keep_freed_memory()
    cache = _cache(config)
    plan, task = plan_of(config, store, display)
    for profile in plan.profiles:
        if not plan.measured(profile):
            display.note(
                f"note: nothing at hand runs students for {profile.name}: their latencies are predicted (~) and "
                "nothing is compared with torch there; `understudy confirm RUN --board HOST:PORT:KEY` measures"
            )
    if config.supernet is not None:
        from search.supernet import check_taken

        check_taken(plan, task.fingerprint)
    if not config.relative:
        hold_smallest(plan, task, store, display)
    if config.supervision == BLOCKS:
        check_stages(plan.space(), task)
    teacher = _load_teacher(config, task, cache, display) if config.teachers else None
    assistant = None if teacher is None else _load_assistant(config, task, cache, teacher, display)
    nearest = assistant or teacher
    plan = replace(plan, methods=fitting_methods(plan, task, nearest, store))
    if config.supervision == BLOCKS and nearest is not None:
        check_features(nearest)
        check_distiller(BlockWise(), plan, task, nearest)
    check_same(store, origin_of(plan, task, nearest))
    costs = _costs(plan, task, teacher, store, display)
    if config.relative:
        plan = _with_limits(config, plan, costs, store, display)
        hold_smallest(plan, task, store, display)
    if nearest is not None:
        with display.stage("teacher's answers") as advance:
            outputs = answers_of(nearest, task, plan.views, cache, advance)
            reference = outputs if teacher is None else answers_of(teacher, task, 0, cache)
        plan = replace(plan, outputs=outputs.folder, reference=reference.folder)
    facts = facts_of(plan, task, teacher, costs)
    if assistant is not None:
        facts["assistant"] = taught_by(plan, task, assistant)
    return Prepared(plan, facts | {"origin": origin_of(plan, task, nearest)})


def plan_of(config: SearchConfig, store: RunStore, display: Display) -> tuple[Plan, Task]:
    """The plan of a run as far as its data tell it, without the teacher's answers; raises ``UnderstudyError``."""
    from evaluators.latency.quiet import QuietCores

    task = _load_task(config, _cache(config), display)
    check_kind(config, task)
    plan = Plan(
        config=replace(config, space=config.space or task.space),
        folder=Path.cwd(),
        run=store.path.resolve(),
        task=task.folder,
        profiles=check_names(config),
        views=_views(config, task),
        lock=QuietCores.of_this_computer().path,
        cache=_cache(config),
        methods=tuple(store.facts().get("methods") or ()),
    )
    return plan, task


def _cache(config: SearchConfig) -> Path:
    cache = Path(config.runs).resolve() / CACHE
    cache.mkdir(parents=True, exist_ok=True)
    return cache


def _load_task(config: SearchConfig, cache: Path, display: Display) -> Task:
    from evaluators.tasks.load import load_task

    if config.data == NONE:
        task: Task = synthetic_data(config, cache, display)
        display.note(f"note: {task.notes[0]}")
        return task
    with display.stage(f"data {config.data}"):
        task = load_task(
            config.data,
            cache=cache,
            seed=config.seed,
            image_size=config.image_size,
            augment=config.augment,
            on_bad="skip" if config.skip_bad else "refuse",
            teacher=_folder_of_teacher(config),
        )
    for text in task.notes:
        display.note(f"note: {text}")
    return task


def _folder_of_teacher(config: SearchConfig) -> str | None:
    """The first teacher that is a folder, whose tokens texts become."""
    folders = (each.source for each in config.teachers if Path(each.source).expanduser().is_dir())
    return next(folders, None)


def _load_teacher(config: SearchConfig, task: Task, cache: Path, display: Display) -> Teacher:
    named = config.teachers
    own = len(named) == 1 and named[0].builtin
    what = "teacher, trained here once and kept" if own else f"teacher {' + '.join(each.source for each in named)}"
    with display.stage(what) as advance:
        return open_teacher(config, task, cache, advance)


def _load_assistant(
    config: SearchConfig, task: Task, cache: Path, teacher: Teacher, display: Display
) -> Teacher | None:
    if config.assistant is None:
        return None
    with display.stage("teacher's assistant, taught here once and kept") as advance:
        assistant = open_assistant(config, task, cache, teacher, advance)
    if assistant is None:
        display.note(
            "note: no assistant: the teacher is not 100 times the smallest student, or its size is not known"
        )
    return assistant


def _views(config: SearchConfig, task: Task) -> int:
    from evaluators.supernet.course import supernet_schedule

    samples = task.size("train")
    schedules = [task.search_schedule(config.epochs), task.final_schedule(config.final_epochs)]
    if config.supernet is not None:
        schedules.append(supernet_schedule(samples, config.supernet_epochs))
    return max(schedule.views for schedule in schedules)


def _costs(
    plan: Plan, task: Task, teacher: Teacher | None, store: RunStore, display: Display
) -> dict[str, dict[str, Any]]:
    """What the teacher costs by target, as far as that is known; it is measured once."""
    return {
        goal.target: teacher_cost(plan, profile, goal, task, teacher, store, display)
        for profile, goal in zip(plan.profiles, plan.config.goals.each, strict=True)
    }


def _with_limits(
    config: SearchConfig, plan: Plan, costs: Mapping[str, dict[str, Any]], store: RunStore, display: Display
) -> Plan:
    """The plan with limits in units for parts of the teacher's, which the run keeps from now on."""
    config = config.within(
        {
            name: {metric: figure["value"] for metric, figure in costs[goal.target].items()}
            for name, goal in zip(config.profile, config.goals.each, strict=True)
        }
    )
    store.write_text("config.yaml", config.to_yaml())
    for name, goal in zip(config.profile, config.goals.each, strict=True):
        limits = ", ".join(
            f"{metric_of(metric).heading} {Measurement(limit, metric_of(metric).unit)}"
            for metric, limit in goal.budget.limits.items()
        )
        display.note(f"Limits on {name}, of the teacher's where they are parts of it: {limits}")
    return replace(plan, config=replace(config, space=plan.config.space))
