"""A folder of class folders, the usual way to keep pictures."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

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


@dataclass(frozen=True)
class Labelled:
    """Files with classes: ``targets`` int64 (N,) index ``labels``; ``given`` is the split of each where the folder
    is divided.
    """

    paths: tuple[Path, ...]
    targets: NDArray[np.int64]
    labels: tuple[str, ...]
    given: NDArray[np.str_] | None


def folder_samples(folder: Path) -> Samples:
    """Pictures of ``<class>/**`` or ``<split>/<class>/**``, classes in alphabetical order.

    Raises ``DataError`` when there are no pictures, or a split has a class that training lacks.
    """
    found = labelled_files(folder, SUFFIXES, "images", "jpg, png, bmp, webp ...")
    return Samples(FileImages(found.paths), found.targets, found.labels, found.given, POLICIES["standard"])


def labelled_files(
    folder: Path, suffixes: Collection[str], nouns: str, kinds: str, passed_over: str = "."
) -> Labelled:
    """Files with these suffixes below class folders, which may stand below folders of splits.

    ``nouns`` and ``kinds`` are what to call them in a message; folders whose names begin with a character of
    ``passed_over`` are no classes. Raises ``DataError`` when there are none, or a split has a class that training
    lacks.
    """
    known = {path: SPLIT_NAMES.get(path.name.lower(), "") for path in _folders(folder, passed_over)}
    splits = {path: split for path, split in known.items() if split}
    divided = "train" in splits.values()
    roots = splits if divided else {folder: "train"}
    found = [(path, root, roots[root]) for root in roots for path in _files(root, suffixes, passed_over)]
    if not found:
        raise DataError(
            f"no {nouns} in {folder}: it needs one folder a class with {nouns} in it ({kinds}), "
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
    return Labelled(
        tuple(path for path, _, _ in found),
        np.array([numbers[name] for name in names], np.int64),
        tuple(labels),
        np.array([split for _, _, split in found]) if divided else None,
    )


def _folders(folder: Path, passed_over: str) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] not in passed_over)


def _files(root: Path, suffixes: Collection[str], passed_over: str) -> list[Path]:
    """Files with these suffixes below the class folders of a root, in a stable order."""
    return [
        path
        for label in _folders(root, passed_over)
        for path in sorted(label.rglob("*"))
        if path.suffix.lower() in suffixes and not path.name.startswith(".") and path.is_file()
    ]
