"""A folder of class folders, the usual way to keep pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from evaluators.tasks.augment import POLICIES
from evaluators.tasks.images import FileImages
from evaluators.tasks.prepare import Samples
from understudy import DataError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"})
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
"""Names of splits as people write them, to ours."""


def folder_samples(folder: Path) -> Samples:
    """Pictures of ``<class>/**`` or ``<split>/<class>/**``, classes in alphabetical order.

    Raises ``DataError`` when there are no pictures, or a split has a class that training lacks.
    """
    known = {path: SPLIT_NAMES.get(path.name.lower(), "") for path in _folders(folder)}
    splits = {path: split for path, split in known.items() if split}
    divided = "train" in splits.values()
    roots = splits if divided else {folder: "train"}
    found = [(path, root, roots[root]) for root in roots for path in _pictures(root)]
    if not found:
        raise DataError(
            f"no images in {folder}: it needs one folder a class with images in it (jpg, png, bmp, webp ...), "
            "or train/val/test folders of such"
        )
    names = [path.relative_to(root).parts[0] for path, root, _ in found]
    labels = sorted({name for name, (_, _, split) in zip(names, found, strict=True) if split == "train"})
    strangers = sorted(set(names) - set(labels))
    if strangers:
        raise DataError(
            f"class {strangers[0]!r} of {folder} is not in its train folder: add it there, or remove it"
        )
    numbers = {label: number for number, label in enumerate(labels)}
    return Samples(
        FileImages([path for path, _, _ in found]),
        np.array([numbers[name] for name in names], np.int64),
        tuple(labels),
        np.array([split for _, _, split in found]) if divided else None,
        POLICIES["standard"],
    )


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _pictures(root: Path) -> list[Path]:
    """Image files below the class folders of a root, in a stable order."""
    return [
        path
        for label in _folders(root)
        for path in sorted(label.rglob("*"))
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    ]
