"""Before the first candidate: data, teacher, the teacher's outputs, and what the smallest student costs."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from results.measurement import Measurement
from results.store import RunStore
from search.config import SearchConfig
from search.display import Display
from search.plan import Plan
from understudy import ConfigError, SpaceError, UnderstudyError, unknown_name

if TYPE_CHECKING:
    from evaluators.tasks.image_task import ImageTask
    from evaluators.teachers.teacher import Teacher

CACHE = ".cache"


@dataclass(frozen=True)
class Prepared:
    """What the search starts from; ``facts`` goes into the run's ``run.json``."""

    plan: Plan
    facts: Mapping[str, Any]


def check_names(config: SearchConfig) -> None:
    """Refuse unknown names before anything is loaded; raises the ``UnderstudyError`` that fits."""
    from evaluators.distill.catalogue import load_distiller
    from hw_profiles.profile import load_profile
    from spaces.catalogue import space_names

    profile = load_profile(config.profile)
    if config.threads is not None:
        profile.with_threads(config.threads)
    if ":" not in config.space and config.space not in space_names():
        raise SpaceError(unknown_name("space", config.space, (*space_names(), "nni:NAME", "file.py:Class")))
    load_distiller(config.distill)


def prepare(config: SearchConfig, store: RunStore, display: Display) -> Prepared:
    """Load data and teacher, compute what every trial shares, and hold the smallest student to the budget.

    Everything lands in a cache beside the runs, addressed by content, so that it is made once.
    Raises ``UnderstudyError`` for whatever the user must mend.
    """
    from evaluators.distill.allocator import keep_freed_memory

    keep_freed_memory()
    cache = (Path(config.runs) / CACHE).resolve()
    cache.mkdir(parents=True, exist_ok=True)
    task = _load_task(config, cache, display)
    teacher = _load_teacher(config, task, cache, display)
    views = _views(config, task)
    with display.stage("teacher's answers") as advance:
        from evaluators.distill.teacher_outputs import compute_outputs

        outputs = compute_outputs(teacher, task, views=views, cache=cache, progress=advance)
    plan = Plan(
        config=config,
        folder=Path.cwd(),
        run=store.path.resolve(),
        task=task.folder,
        outputs=outputs.folder,
        views=views,
        lock=cache / "quiet.lock",
    )
    with display.stage("smallest student and the space's inputs"):
        _check_smallest(plan, task)
    facts = store.facts() or _facts(plan, task, teacher, display)
    return Prepared(plan, facts)


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
        return builtin_teacher(task, cache=cache, seed=config.seed, progress=advance)


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


def _facts(plan: Plan, task: ImageTask, teacher: Teacher, display: Display) -> dict[str, Any]:
    import numpy as np
    import torch

    from evaluators.distill.evaluate import accuracy
    from evaluators.distill.teacher_outputs import TeacherOutputs

    outputs = TeacherOutputs(plan.outputs, plan.views)
    scores = {
        split: accuracy(torch.from_numpy(np.array(outputs.logits(split))), task.targets(split))
        for split in ("val", "test")
    }
    with display.stage("teacher's latency"):
        figures, problem = _teacher_cost(plan, task, teacher)
    if problem:
        display.note(f"note: the teacher's latency is not known: {problem}")
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
            **{name: figure.to_json() for name, figure in figures.items()},
        },
        "profile": asdict(plan.profile()),
        "space": plan.config.space,
        "objectives": list(plan.config.objectives),
        "budget": dict(plan.config.budget.limits),
        "seed": plan.config.seed,
    }


def _teacher_cost(plan: Plan, task: ImageTask, teacher: Teacher) -> tuple[dict[str, Measurement], str]:
    """The teacher compiled and measured as a student would be, or why that cannot be done."""
    import numpy as np

    from evaluators.compile.compiler import compile_network

    if teacher.module is None:
        return {}, "it is not a torch network, so it was not compiled"
    device = plan.open_device()
    images = task.images("val", np.arange(1), teacher.resolution)
    with tempfile.TemporaryDirectory(prefix="understudy-") as folder:
        try:
            compiled = compile_network(teacher.module, images, plan.profile(), Path(folder) / "teacher.so")
            latency = device.measure(compiled.library, images.numpy().astype(np.float32))
        except UnderstudyError as error:
            return {}, str(error)
    return {"latency": latency, "size": Measurement(compiled.size_bytes, "byte")}, ""
