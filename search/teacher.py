"""The teachers that a configuration asks for, in whatever process needs them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from evaluators.teachers.named import NamedTeacher
from search.config import SearchConfig
from understudy import ConfigError, TeacherError

if TYPE_CHECKING:
    from evaluators.distill.teacher_outputs import TeacherOutputs
    from evaluators.tasks.task import Task
    from evaluators.teachers.teacher import Teacher

Progress = Callable[[int, int], None]


def open_teacher(config: SearchConfig, task: Task, cache: Path, progress: Progress | None = None) -> Teacher:
    """The user's teacher or the built-in one, which is trained unless ``cache`` holds it; several as one.

    ``progress`` is told epochs of such a training done and in all. Raises ``TeacherError`` for a teacher that
    cannot be loaded and where there is to be none, ``ConfigError`` for options that do not go together.
    """
    from evaluators.teachers.ensemble import Ensemble

    named = config.teachers
    if not named:
        raise TeacherError("the run has no teacher (--teacher none), but something asks for one: name a --teacher")
    models = _models(named, config.teacher_model)
    teachers = [
        _open(each, model, config.seed, task, cache, progress) for each, model in zip(named, models, strict=True)
    ]
    if len(teachers) == 1:
        return teachers[0]
    for each, teacher in zip(named, teachers, strict=True):
        teacher.name = each.source if each.builtin else teacher.name
    return Ensemble(teachers, [each.weight for each in named], config.combine)


def open_assistant(
    config: SearchConfig, task: Task, cache: Path, teacher: Teacher, progress: Progress | None = None
) -> Teacher | None:
    """The teacher's assistant, taught unless ``cache`` holds it; None where none is asked for or called for.

    Raises ``ConfigError`` for data that are no images.
    """
    from evaluators.teachers.assistant import assistant_schedule, assistant_width, taught_assistant
    from spaces.catalogue import load_space

    if config.assistant is None:
        return None
    space = load_space(config.space or task.space, **task.sizes)
    width = assistant_width(config.assistant, teacher, space.build(space.smallest()), task)
    if width is None:
        return None
    views = assistant_schedule(task.size("train")).views
    outputs = answers_of(teacher, task, views, cache)
    return taught_assistant(
        task, teacher, outputs, width=width, cache=cache, seed=config.seed, progress=progress, device=_device()
    )


def open_nearest(config: SearchConfig, task: Task, cache: Path) -> Teacher:
    """Whoever teaches the students: the assistant if there is one, else the teacher."""
    teacher = open_teacher(config, task, cache)
    return open_assistant(config, task, cache, teacher) or teacher


def answers_of(
    teacher: Teacher, task: Task, views: int, cache: Path, progress: Progress | None = None
) -> TeacherOutputs:
    """The stored outputs of a teacher, or of several that are one."""
    from evaluators.distill.teacher_outputs import compute_outputs
    from evaluators.teachers.ensemble import Ensemble, ensemble_outputs

    if isinstance(teacher, Ensemble):
        return ensemble_outputs(teacher, task, views=views, cache=cache, progress=progress)
    return compute_outputs(teacher, task, views=views, cache=cache, progress=progress)


def _open(
    named: NamedTeacher, model: str | None, seed: int, task: Task, cache: Path, progress: Progress | None
) -> Teacher:
    from evaluators.graphs.graph_task import GraphTask
    from evaluators.graphs.teacher import DEFAULT, graph_teacher
    from evaluators.teachers.builtin import builtin_teacher
    from evaluators.teachers.load import load_teacher

    own = seed if named.seed is None else named.seed
    if isinstance(task, GraphTask):
        kind = DEFAULT if named.builtin else named.source
        return graph_teacher(kind, task, cache=cache, seed=own, progress=progress)
    if not named.builtin:
        return load_teacher(named.source, model, task)
    return builtin_teacher(task, cache=cache, seed=own, progress=progress, device=_device())


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _models(named: Sequence[NamedTeacher], given: tuple[str, ...]) -> list[str | None]:
    """The code that builds each teacher's network: one text for all weights files, or one each, in order."""
    from evaluators.teachers.load import WEIGHTS

    holders = [each for each in named if Path(each.source).suffix in WEIGHTS]
    others = [each for each in named if each not in holders]
    if given and not holders and all(each.builtin for each in others):
        raise ConfigError("teacher_model builds a network for the weights of teacher: name those with --teacher")
    if given and not holders:
        raise TeacherError(
            f"teacher {others[0].source} is a whole network: leave out --teacher-model, or name its weights file"
        )
    if len(given) > 1 and len(given) != len(holders):
        raise ConfigError(
            f"--teacher-model is given {len(given)} times for {len(holders)} weights files: give it once for all, "
            "or once for each in their order"
        )
    each_own = dict(zip(holders, given * len(holders) if len(given) == 1 else given, strict=False))
    return [each_own.get(each) for each in named]
