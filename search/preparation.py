"""Before the first candidate: data, teacher, the teacher's outputs, and what the smallest student costs."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from results.measurement import Measurement, metric_of
from results.store import RunStore
from search.config import BLOCKS, TRAIN, SearchConfig
from search.display import Display
from search.plan import Plan
from search.synthesis import NONE, synthetic_data
from search.teacher import answers_of, open_assistant, open_teacher
from search.teacher_cost import teacher_cost
from understudy import ConfigError, RunError, SpaceError, TeacherError, unknown_name

if TYPE_CHECKING:
    from evaluators.distill.distiller import Distiller
    from evaluators.tasks.task import Task
    from evaluators.teachers.teacher import Teacher
    from hw_profiles.profile import Profile

CACHE = ".cache"


@dataclass(frozen=True)
class Prepared:
    """What the search starts from; ``facts`` goes into the run's ``run.json``."""

    plan: Plan
    facts: Mapping[str, Any]


def check_names(config: SearchConfig) -> tuple[Profile, ...]:
    """Refuse unknown names before anything is loaded; the profiles, with the configured number of threads.

    Raises the ``UnderstudyError`` that fits.
    """
    from evaluators.distill.auto import auto_methods, usable_methods
    from evaluators.distill.catalogue import methods
    from evaluators.quantise.precision import Precision
    from evaluators.tasks.task import Task
    from hw_profiles.profile import load_profile
    from spaces.catalogue import space_names

    if config.space is not None and ":" not in config.space and config.space not in space_names():
        raise SpaceError(unknown_name("space", config.space, (*space_names(), "nni:NAME", "file.py:Class")))
    distill = config.distill or Task.distill
    if not usable_methods(distill, bool(config.teachers)):
        alone = ", ".join(name for name, method in methods().items() if not method.kind.uses_teacher)
        raise ConfigError(
            f"--teacher none leaves {distill} nobody to learn from: name a --teacher, or with --distill a "
            f"method that needs none ({alone})"
        )
    for run in config.warm_start:
        RunStore.open(Path(run))
    profiles = tuple(
        load_profile(name).on_board() if name in config.boards else load_profile(name) for name in config.profile
    )
    _check_power(config, profiles)
    _check_tuning(config, profiles)
    if config.quantise != "none":
        Precision.of(config.quantise, profiles)
    if config.supernet is not None and auto_methods(distill) is not None:
        raise ConfigError("a supernet is taught in one way, so --distill must name it, not auto")
    return profiles if config.threads is None else tuple(each.with_threads(config.threads) for each in profiles)


def check_supernet(config: SearchConfig) -> None:
    """Refuse an earlier run without a supernet; raises ``ConfigError``."""
    from evaluators.supernet.kept import FOLDER, is_trained

    if config.supernet is not None and config.supernet != TRAIN and not is_trained(Path(config.supernet) / FOLDER):
        raise ConfigError(
            f"{config.supernet} has no trained supernet: name a run of `understudy search --supernet {TRAIN}`, or "
            "train one here"
        )


def _check_power(config: SearchConfig, profiles: Sequence[Profile]) -> None:
    """Refuse to weigh energy where the profile does not say what the device draws."""
    for profile, goal in zip(profiles, config.goals.each, strict=True):
        if "energy" in (*goal.objectives, *goal.budget.limits) and profile.active_w is None:
            raise ConfigError(
                f"the profile {profile.name} gives no power (active_w), so energy cannot be estimated: leave "
                "energy out, or give the figure in a profile of your own"
            )


def _check_tuning(config: SearchConfig, profiles: Sequence[Profile]) -> None:
    """Refuse to tune the kernels of a GPU, which nothing here does."""
    untuned = [profile.name for profile in profiles if profile.gpu is not None]
    if config.tune is not None and untuned:
        raise ConfigError(f"kernels of a GPU are not tuned ({', '.join(untuned)}): leave out --tune")


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
    if not config.relative:
        _hold_smallest(plan, task, store, display)
    if config.supervision == BLOCKS:
        check_stages(plan.space(), task)
    teacher = _load_teacher(config, task, cache, display) if config.teachers else None
    assistant = None if teacher is None else _load_assistant(config, task, cache, teacher, display)
    nearest = assistant or teacher
    plan = replace(plan, methods=_methods(plan, task, nearest, store))
    if config.supervision == BLOCKS and nearest is not None:
        check_features(nearest)
        _check_distiller(BlockWise(), plan, task, nearest)
    _check_same(store, _origin(plan, task, nearest))
    costs = _costs(plan, task, teacher, store, display)
    if config.relative:
        plan = _with_limits(config, plan, costs, store, display)
        _hold_smallest(plan, task, store, display)
    if nearest is not None:
        with display.stage("teacher's answers") as advance:
            outputs = answers_of(nearest, task, plan.views, cache, advance)
            reference = outputs if teacher is None else answers_of(teacher, task, 0, cache)
        plan = replace(plan, outputs=outputs.folder, reference=reference.folder)
    facts = _facts(plan, task, teacher, costs)
    if assistant is not None:
        facts["assistant"] = _taught_by(plan, task, assistant)
    return Prepared(plan, facts | {"origin": _origin(plan, task, nearest)})


def plan_of(config: SearchConfig, store: RunStore, display: Display) -> tuple[Plan, Task]:
    """The plan of a run as far as its data tell it, without the teacher's answers; raises ``UnderstudyError``."""
    from evaluators.latency.quiet import QuietCores

    task = _load_task(config, _cache(config), display)
    _check_kind(config, task)
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


def _check_kind(config: SearchConfig, task: Task) -> None:
    """Refuse what does not go with answers of the data's kind, before a teacher is trained; ``ConfigError``."""
    from evaluators.distill.auto import auto_methods
    from evaluators.distill.catalogue import load_distiller
    from evaluators.distill.places import check_answers
    from evaluators.tasks.language_task import LanguageTask

    distill = config.distill or task.distill
    if auto_methods(distill) is None:
        check_answers(load_distiller(distill), task)
    asked = {
        "--supernet": config.supernet is not None,
        f"--quantise {config.quantise}": config.quantise not in _precisions(task),
        "--assistant": config.assistant is not None,
        "more than one --teacher": len(config.teachers) > 1,
    }
    limited = any("first_token" in (*goal.objectives, *goal.budget.limits) for goal in config.goals.each)
    if limited and not isinstance(task, LanguageTask):
        raise ConfigError(
            f"first_token is a figure of students of plain text, and the data are {task.kind}: leave it out"
        )
    for option, given in asked.items():
        if (task.dense or task.several) and given:
            raise ConfigError(f"{option} is not for {task.kind} yet: leave it out")


def _precisions(task: Task) -> tuple[str, ...]:
    """Settings of ``--quantise`` for data whose answers are maps or whose samples have several parts."""
    from evaluators.quantise.precision import WEIGHTS
    from evaluators.tasks.language_task import LanguageTask
    from evaluators.tasks.segmentation_task import SegmentationTask

    if isinstance(task, LanguageTask):
        return ("none", *WEIGHTS)
    return ("none", "int8", "mixed") if isinstance(task, SegmentationTask) else ("none",)


def _cache(config: SearchConfig) -> Path:
    cache = Path(config.runs).resolve() / CACHE
    cache.mkdir(parents=True, exist_ok=True)
    return cache


def _origin(plan: Plan, task: Task, teacher: Teacher | None) -> dict[str, str]:
    """What the figures of a run depend on."""
    taught = "none" if teacher is None else teacher.fingerprint
    return {"data": task.fingerprint, "teacher": taught, "processor": _processors(plan)}


def _processors(plan: Plan) -> str:
    return " and ".join(profile.mcpu for profile in plan.profiles)


def _check_same(store: RunStore, origin: Mapping[str, str]) -> None:
    before = store.facts().get("origin", origin)
    changed = [name for name in origin if before.get(name) != origin[name]]
    if changed and (store.candidates() or store.paused()):
        raise RunError(
            f"the {' and the '.join(changed)} of {store.path} changed since it began, so its figures cannot be "
            "compared any more: restore what changed, or start a new run with --name"
        )


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


def _methods(plan: Plan, task: Task, teacher: Teacher | None, store: RunStore) -> tuple[str, ...]:
    """The ways of teaching that the search chooses among, those with which it began; () where it has one way only.

    Raises ``ConfigError`` or ``TeacherError`` where these networks do not fit the one way, or too few of several.
    """
    from evaluators.distill.auto import auto_methods, usable_methods
    from evaluators.distill.catalogue import load_distiller

    distill = plan.config.distill or task.distill
    usable = usable_methods(distill, teacher is not None)
    if auto_methods(distill) is None:
        _check_distiller(load_distiller(distill), plan, task, teacher)
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
        _check_distiller(distiller, plan, task, teacher)
    except (ConfigError, TeacherError):
        return False
    return True


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


def _hold_smallest(plan: Plan, task: Task, store: RunStore, display: Display) -> None:
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


def _check_distiller(distiller: Distiller, plan: Plan, task: Task, teacher: Teacher | None) -> None:
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


def _facts(plan: Plan, task: Task, teacher: Teacher | None, costs: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """What is known of the run before its search."""
    by_target: dict[str, dict[str, Any]] = {
        goal.target: {
            "profile": asdict(profile),
            "budget": dict(goal.budget.limits),
            **({"board": str(plan.boards(profile))} if plan.boards(profile) else {}),
            "teacher_cost": costs[goal.target],
        }
        for profile, goal in zip(plan.profiles, plan.config.goals.each, strict=True)
    }
    only = by_target.get("", {})
    return {
        "name": plan.run.name,
        "task": {
            "data": plan.config.data,
            "labels": list(task.labels),
            **task.sample,
            "metric": task.metric,
            "counts": dict(task.counts),
        },
        "teacher": {**_taught_by(plan, task, teacher), **only.get("teacher_cost", {})},
        **(only or {"targets": by_target}),
        "distill": plan.config.distill or task.distill,
        "methods": list(plan.methods),
        "space": plan.config.space,
        "quantise": plan.config.quantise,
        "objectives": list(plan.config.objectives),
        "seed": plan.config.seed,
    }


def _taught_by(plan: Plan, task: Task, teacher: Teacher | None) -> dict[str, Any]:
    """Name and scores of the teacher; nothing where there is none."""
    import numpy as np

    if teacher is None:
        return {}
    outputs = answers_of(teacher, task, 0, plan.cache)
    test, val = (task.score(np.array(outputs.logits(split)), task.targets(split)) for split in ("test", "val"))
    parameters = None if teacher.module is None else sum(p.numel() for p in teacher.module.parameters())
    scores = {"accuracy": test, "val_accuracy": val}
    return {"name": teacher.name, **scores, "parameters": parameters, "latency": None}
