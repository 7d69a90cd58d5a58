"""The teacher that a configuration asks for, in whatever process needs it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from search.config import SearchConfig
from understudy import ConfigError

if TYPE_CHECKING:
    from evaluators.tasks.task import Task
    from evaluators.teachers.teacher import Teacher


def open_teacher(
    config: SearchConfig, task: Task, cache: Path, progress: Callable[[int, int], None] | None = None
) -> Teacher:
    """The user's teacher, or the built-in one, which is trained unless ``cache`` holds it.

    ``progress`` is told epochs of that training done and in all. Raises ``TeacherError`` for a teacher that
    cannot be loaded, ``ConfigError`` for options that do not go together.
    """
    import torch

    from evaluators.teachers.builtin import builtin_teacher
    from evaluators.teachers.load import load_teacher

    if config.teacher is not None:
        return load_teacher(config.teacher, config.teacher_model, task)
    if config.teacher_model is not None:
        raise ConfigError("teacher_model builds a network for the weights of teacher: name those with --teacher")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return builtin_teacher(task, cache=cache, seed=config.seed, progress=progress, device=device)
