"""Arrays in an ``.npz`` file: ``images`` and ``labels``, or ``x_train``, ``y_train``, ``x_test`` and so on."""

from __future__ import annotations

import difflib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators.tasks.augment import POLICIES
from evaluators.tasks.images import ArrayImages
from evaluators.tasks.prepare import Samples
from understudy import DataError

_SPLITS = ("train", "val", "test")
_NAMES = "class_names"


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an ``.npz`` file by name, read without unpickling; raises ``DataError`` when it is none."""
    if not path.is_file():
        raise DataError(f"there is no file {path}: check the path")
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path} cannot be read as arrays ({error}): save plain arrays with numpy.savez"
        ) from error


def npz_samples(path: Path, arrays: Mapping[str, NDArray[Any]]) -> Samples:
    """Samples in the arrays of an ``.npz`` file.

    Pictures are (N, H, W), (N, H, W, C) or (N, C, H, W), uint8 or float in 0..1; labels are integers, and
    ``class_names`` may name them. Raises ``DataError`` for missing arrays, other shapes, NaN and labels
    that are not integers.
    """
    pairs = {split: (f"x_{split}", f"y_{split}") for split in _SPLITS if f"x_{split}" in arrays}
    divided = "train" in pairs
    if not divided:
        pairs = {"train": ("images", "labels")}
    pictures = [_pictures(path, name, _get(path, arrays, name)) for name, _ in pairs.values()]
    if len({block.shape[1:] for block in pictures}) > 1:
        raise DataError(f"the pictures of {path} differ in shape between splits: save them at one size")
    targets = [_labels(path, name, _get(path, arrays, name)) for _, name in pairs.values()]
    for (x, y), block, labels in zip(pairs.values(), pictures, targets, strict=True):
        if len(block) != len(labels):
            raise DataError(f"{path} has {len(block)} pictures in {x!r} but {len(labels)} labels in {y!r}")
    values, numbers = np.unique(np.concatenate(targets), return_inverse=True)
    given = np.repeat(list(pairs), [len(block) for block in pictures]) if divided else None
    return Samples(
        ArrayImages(np.concatenate(pictures)),
        numbers.astype(np.int64).reshape(-1),
        _class_names(path, arrays, values),
        given,
        POLICIES["standard"],
    )


def _get(path: Path, arrays: Mapping[str, NDArray[Any]], name: str) -> NDArray[Any]:
    if name in arrays:
        return arrays[name]
    near = difflib.get_close_matches(name, arrays, n=1, cutoff=0.5)
    hint = f"; rename {near[0]!r}" if near else ""
    raise DataError(
        f"{path} has no array {name!r}{hint}: it needs images and labels, or x_train, y_train (and _val, _test); "
        f"it has {', '.join(sorted(arrays)) or 'none'}"
    )


def _pictures(path: Path, name: str, array: NDArray[Any]) -> NDArray[np.uint8]:
    """Any of the accepted layouts as uint8 (N, H, W, C)."""
    if array.ndim == 3:
        array = array[..., None]
    elif array.ndim == 4 and array.shape[3] not in (1, 3) and array.shape[1] in (1, 3):
        array = array.transpose(0, 2, 3, 1)
    if array.ndim != 4 or array.shape[3] not in (1, 3) or 0 in array.shape:
        raise DataError(
            f"{name!r} of {path} has the shape {array.shape}: pictures are (N, H, W), (N, H, W, C) or "
            "(N, C, H, W) with 1 or 3 channels"
        )
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if not np.issubdtype(array.dtype, np.floating):
        raise DataError(f"{name!r} of {path} is {array.dtype}: pictures are uint8, or float in 0..1")
    return _to_bytes(path, name, array)


def _to_bytes(path: Path, name: str, array: NDArray[Any]) -> NDArray[np.uint8]:
    if not np.isfinite(array).all():
        bad = int((~np.isfinite(array.reshape(len(array), -1)).all(axis=1)).argmax())
        raise DataError(f"{name!r} of {path} holds NaN or infinity (first in picture {bad}): repair or remove it")
    if array.min() < 0 or array.max() > 1:
        raise DataError(
            f"{name!r} of {path} is float in {array.min():g}..{array.max():g}: scale it to 0..1, or save uint8"
        )
    scaled: NDArray[np.uint8] = np.rint(np.ascontiguousarray(array) * 255).astype(np.uint8)
    return scaled


def _labels(path: Path, name: str, array: NDArray[Any]) -> NDArray[np.int64]:
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
        raise DataError(f"{name!r} of {path} is {array.dtype} {array.shape}: labels are integers, one a picture")
    return array.astype(np.int64)


def _class_names(path: Path, arrays: Mapping[str, NDArray[Any]], values: NDArray[np.int64]) -> tuple[str, ...]:
    if _NAMES not in arrays:
        return tuple(str(value) for value in values)
    names = arrays[_NAMES]
    if names.ndim != 1 or values.min() < 0 or values.max() >= len(names):
        raise DataError(f"{_NAMES!r} of {path} names {names.size} classes, but labels reach {values.max()}")
    return tuple(str(names[value]) for value in values)
