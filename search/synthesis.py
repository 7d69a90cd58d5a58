"""`--data none`: the images of a search are made from its teacher."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from search.config import SearchConfig
from search.display import Display
from search.teacher import open_teacher
from understudy import ConfigError, DataError

if TYPE_CHECKING:
    from evaluators.tasks.image_task import ImageTask

NONE = "none"


def synthetic_data(config: SearchConfig, cache: Path, display: Display) -> ImageTask:
    """Images made from the teacher once, as the task of the search.

    Raises ``ConfigError`` for options that are missing or do not go together, ``TeacherError`` for a teacher that
    nothing can be made from, ``DataError`` for validation data of other images.
    """
    from evaluators.datafree.synthesis import Recipe
    from evaluators.datafree.task import blank_task, images_for, synthetic_task
    from evaluators.tasks.image_task import ImageTask
    from evaluators.tasks.load import load_task

    recipe = Recipe.of(config.synthesis)
    own = [teacher for teacher in config.teachers if not teacher.builtin]
    if len(own) != len(config.teachers) or not own or config.classes is None or config.input_shape is None:
        raise ConfigError(
            "without data (--data none) a search needs a teacher of your own (--teacher), the number of its "
            "classes (--classes) and the shape of its images (--input-shape, such as 3x32x32)"
        )
    channels, size = read_shape(config.input_shape)
    side = picture_side(config.picture_size, size)
    mean, std = (
        read_figures(name, text, channels, default)
        for name, text, default in (("input_mean", config.input_mean, 0.0), ("input_std", config.input_std, 1.0))
    )
    blank = blank_task(config.classes, channels, size, mean, std)
    judge = None
    if config.val_data is not None:
        found = load_task(config.val_data, cache=cache, seed=config.seed, image_size=size)
        if not isinstance(found, ImageTask):
            raise DataError(f"{config.val_data} does not hold images, as the teacher takes: name other --val-data")
        judge = found
    teacher = open_teacher(config, blank, cache)
    with display.stage(f"images made from teacher {teacher.name}") as advance:
        return synthetic_task(
            teacher,
            blank,
            recipe,
            images_for(config.classes),
            side=side,
            cache=cache,
            seed=config.seed,
            judge=judge,
            progress=advance,
        )


def read_shape(text: str) -> tuple[int, int]:
    """Channels and side of ``3x32x32``; raises ``ConfigError`` for anything else."""
    sizes = text.lower().split("x")
    if len(sizes) != 3 or not all(size.isdecimal() for size in sizes) or sizes[1] != sizes[2]:
        raise ConfigError(f"input_shape must be channels and a square, such as 3x32x32, but got {text!r}")
    channels, size = int(sizes[0]), int(sizes[1])
    if channels not in (1, 3) or size < 8 or size % 4:
        raise ConfigError(f"input_shape must have 1 or 3 channels and a side of 8, 12, 16, ..., but got {text!r}")
    return channels, size


def picture_side(side: int | None, size: int) -> int:
    """The side of pictures for a teacher of ``size`` pixels; raises ``ConfigError`` for one that cannot be."""
    if side is None:
        return size
    if not 8 <= side <= size or side % 4:
        raise ConfigError(
            f"picture_size must be 8, 12, 16, ... up to the {size} pixels that the teacher takes, but got {side}"
        )
    return side


def read_figures(name: str, text: str | None, channels: int, default: float) -> tuple[float, ...]:
    """A figure a channel, from ``0.49,0.48,0.45`` or one for all; raises ``ConfigError`` for anything else."""
    try:
        figures = (default,) if text is None else tuple(float(part) for part in text.split(","))
    except ValueError:
        figures = ()
    if len(figures) not in (1, channels) or (name == "input_std" and min(figures) <= 0):
        raise ConfigError(f"{name} must be numbers, one a channel ({channels}) and no std of 0, but got {text!r}")
    return figures * channels if len(figures) == 1 else figures
