"""The data that come later, as the user has them."""

from __future__ import annotations

from pathlib import Path

from evaluators.tasks.folder import SPLIT_NAMES, SUFFIXES
from evaluators.tasks.image_task import ImageTask
from evaluators.tasks.load import load_task
from evaluators.tasks.prepare import OnBad
from understudy import DataError


def load_later(spec: str, *, cache: Path, seed: int, image_size: int, on_bad: OnBad) -> ImageTask:
    """The task of later data, named as for a search; a single class is enough.

    Raises ``DataError`` when they cannot be used, and for a class folder without images: whoever made it meant
    to teach that class.
    """
    folder = Path(spec).expanduser()
    empty = _empty_classes(folder) if folder.is_dir() else []
    if empty:
        raise DataError(
            f"the class folder {empty[0]} holds no images ({len(empty)} such in all): add some, or remove it"
        )
    task = load_task(spec, cache=cache, seed=seed, image_size=image_size, on_bad=on_bad, least_classes=1)
    if not isinstance(task, ImageTask):
        raise DataError(f"{spec} does not hold images, and only students of images can learn later data")
    return task


def _empty_classes(folder: Path) -> list[Path]:
    """Class folders without images, of a folder that has others with some."""
    roots = [path for path in _folders(folder) if path.name.lower() in SPLIT_NAMES] or [folder]
    classes = [path for root in roots for path in _folders(root)]
    empty = [path for path in classes if not any(file.suffix.lower() in SUFFIXES for file in path.rglob("*"))]
    return empty if len(empty) < len(classes) else []


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
