"""Before the first candidate: data, teacher, the teacher's outputs, and what the smallest student costs."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from results.measurement import Measurement
from results.store import RunStore
from search.config import SearchConfig
from search.display import Display
from search.plan import Plan
from understudy import ConfigError, RunError, SpaceError, UnderstudyError, unknown_name

if TYPE_CHECKING:
    from evaluators.tasks.image_task import ImageTask
    from evaluators.teachers.teacher import Teacher
    from hw_profiles.profile import Profile

CACHE = ".cache"


@dataclass(frozen=True)
class Prepared:
    """What the search starts from; ``facts`` goes into the run's ``run.json``."""

    plan: Plan
    facts: Mapping[str, Any]


def check_names(config: SearchConfig) -> Profile:
    """Refuse unknown names before anything is loaded; the profile, with the configured number of threads.

    Raises the ``UnderstudyError`` that fits.
    """
    from evaluators.distill.catalogue import load_distiller
    from hw_profiles.profile import load_profile
    from spaces.catalogue import space_names

    if ":" not in config.space and config.space not in space_names():
        raise SpaceError(unknown_name("space", config.space, (*space_names(), "nni:NAME", "file.py:Class")))
    load_distiller(config.distill, **config.distiller_settings())
    profile = load_profile(config.profile)
    return profile if config.threads is None else profile.with_threads(config.threads)


def prepare(config: SearchConfig, store: RunStore, display: Display) -> Prepared:
    """Load the data, hold the smallest student to the budget, load the teacher, compute what all trials share.

    Everything lands in a cache beside the runs, addressed by content, so that it is made once. Raises
    ``UnderstudyError`` for whatever the user must mend, also when a run would go on with another teacher, other
    data or on another processor than it began with.
    """
    from evaluators.distill.allocator import keep_freed_memory
    from evaluators.distill.teacher_outputs import compute_outputs
    from evaluators.latency.quiet import QuietCores

    keep_freed_memory()
    cache = Path(config.runs).resolve() / CACHE
    cache.mkdir(parents=True, exist_ok=True)
    task = _load_task(config, cache, display)
    plan = Plan(
        config=config,
        folder=Path.cwd(),
        run=store.path.resolve(),
        task=task.folder,
        profile=check_names(config),
        views=_views(config, task),
        lock=QuietCores.of_this_computer().path,
    )
    if not store.candidates():
        with display.stage("smallest student and the space's inputs"):
            _check_smallest(plan, task)
    teacher = _load_teacher(config, task, cache, display)
    _check_same(store, _origin(plan, task, teacher))
    with display.stage("teacher's answers") as advance:
        outputs = compute_outputs(teacher, task, views=plan.views, cache=cache, progress=advance)
    plan = replace(plan, outputs=outputs.folder)
    return Prepared(plan, _facts(plan, task, teacher, store, display))


def _origin(plan: Plan, task: ImageTask, teacher: Teacher) -> dict[str, str]:
    """What the figures of a run depend on."""
    return {"data": task.fingerprint, "teacher": teacher.fingerprint, "processor": plan.profile.mcpu}


def _check_same(store: RunStore, origin: Mapping[str, str]) -> None:
    before = store.facts().get("origin", origin)
    changed = [name for name in origin if before.get(name) != origin[name]]
    if changed and store.candidates():
        raise RunError(
            f"the {' and the '.join(changed)} of {store.path} changed since it began, so its figures cannot be "
            "compared any more: restore what changed, or start a new run with --name"
        )


def _load_task(config: SearchConfig, cache: Path, display: Display) -> ImageTask:
    from evaluators.tasks.load import load_task

    with display.stage(f"data {config.data}"):
        task = load_task(
            config.data,
            cache=cache,
            seed=config.seed,
            image_size=config.image_size,
            augment=config.augment,
            on_bad="skip" if config.skip_bad else "refuse",
        )
    for text in task.notes:
        display.note(f"note: {text}")
    return task


def _load_teacher(config: SearchConfig, task: ImageTask, cache: Path, display: Display) -> Teacher:
    from evaluators.teachers.builtin import builtin_teacher
    from evaluators.teachers.load import load_teacher

    if config.teacher is not None:
        with display.stage(f"teacher {config.teacher}"):
            return load_teacher(config.teacher, config.teacher_model, task)
    if config.teacher_model is not None:
        raise ConfigError("teacher_model builds a network for the weights of teacher: name those with --teacher")
    with display.stage("teacher, trained here once and kept") as advance:
        import torch

        device = "cuda" if torch.cuda.is_available() else "cpu"
        return builtin_teacher(task, cache=cache, seed=config.seed, progress=advance, device=device)


def _views(config: SearchConfig, task: ImageTask) -> int:
    from evaluators.distill.schedule import final_schedule, search_schedule

    samples = task.size("train")
    return max(search_schedule(samples, config.epochs).views, final_schedule(samples, config.final_epochs).views)


def _check_smallest(plan: Plan, task: ImageTask) -> None:
    """Compile and measure the smallest student; raises ``ConfigError`` when even that is over the budget."""
    from evaluators.candidate import build_student, cost_of
    from evaluators.stages import Stages

    bench = plan.open()
    task.prepare(bench.space.resolutions)
    choice = bench.space.smallest()
    network = build_student(bench, choice, 0)
    with tempfile.TemporaryDirectory(prefix="understudy-") as folder:
        figures, broken = cost_of(bench, choice, network, Path(folder) / "smallest.so", Stages())
    if broken:
        reached = ", ".join(f"{name} {figure}" for name, figure in figures.items())
        raise ConfigError(
            f"the budget is below the smallest student of {bench.space.name}: {broken} (it reaches {reached}). "
            "Raise the limit, or search a smaller space"
        )


def _facts(plan: Plan, task: ImageTask, teacher: Teacher, store: RunStore, display: Display) -> dict[str, Any]:
    """What is known of the run before its search; the teacher's cost is measured once."""
    import numpy as np
    import torch

    from evaluators.distill.evaluate import accuracy
    from evaluators.distill.teacher_outputs import TeacherOutputs

    outputs = TeacherOutputs(plan.outputs, plan.views)
    scores = {
        split: accuracy(torch.from_numpy(np.array(outputs.logits(split))), task.targets(split))
        for split in ("val", "test")
    }
    before = store.facts()
    cost = before["teacher_cost"] if "teacher_cost" in before else _teacher_cost(plan, task, teacher, display)
    return {
        "name": plan.run.name,
        "task": {
            "data": plan.config.data,
            "labels": list(task.labels),
            "channels": task.channels,
            "image_size": task.image_size,
            "counts": dict(task.counts),
        },
        "teacher": {
            "name": teacher.name,
            "accuracy": scores["test"],
            "val_accuracy": scores["val"],
            "parameters": sum(p.numel() for p in teacher.module.parameters()) if teacher.module else None,
            "latency": None,
            **cost,
        },
        "teacher_cost": cost,
        "origin": _origin(plan, task, teacher),
        "profile": asdict(plan.profile),
        "space": plan.config.space,
        "objectives": list(plan.config.objectives),
        "budget": dict(plan.config.budget.limits),
        "seed": plan.config.seed,
    }


def _teacher_cost(plan: Plan, task: ImageTask, teacher: Teacher, display: Display) -> dict[str, Any]:
    """Latency and size of the teacher, compiled, checked and measured as a student would be, or nothing."""
    import numpy as np

    from evaluators.compile.compiler import compile_network
    from evaluators.compile.verify import compare, expected_outputs

    if teacher.module is None:
        display.note("note: the teacher is no torch network, so its latency is not known")
        return {}
    device = plan.open_device()
    images = task.images("val", np.arange(1), teacher.resolution)
    with display.stage("teacher's latency"), tempfile.TemporaryDirectory(prefix="understudy-") as folder:
        try:
            compiled = compile_network(teacher.module, images, plan.profile, Path(folder) / "teacher.so")
            compare(expected_outputs(teacher.module, images), device.run(compiled.library, images.numpy()))
            latency = device.measure(compiled.library, images.numpy())
        except (UnderstudyError, RuntimeError) as error:
            display.note(f"note: the teacher's latency is not known: {error}")
            return {}
    return {"latency": latency.to_json(), "size": Measurement(compiled.size_bytes, "byte").to_json()}
