"""Features of a teacher on the training images, kept on disk so that a search runs the teacher once a view.

Beside the teacher's outputs lies one file a layer, form and view: ``features/<layer@form>-<view>.npy``, (N, ...),
written by the first training that asks and read, memory-mapped, by all others. It is float16, or float32
from the first view on that has a value beyond float16, which ``features/<layer@form>.float32`` remembers.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

import numpy as np

LIMIT = 2 << 30
"""Bytes on disk that the features of one teacher on one data set may take; what does not fit is computed anew
at every step."""

Part = Mapping[str, np.ndarray]


def stored_features(folder: Path, layers: Sequence[str], view: int, samples: int) -> Part | None:
    """The features of all training images by layer, (samples, ...); None where one is not there."""
    try:
        stored = {name: np.load(_path(folder, name, view), mmap_mode="r", allow_pickle=False) for name in layers}
    except (OSError, ValueError, EOFError):
        return None
    return stored if all(len(array) == samples for array in stored.values()) else None


def store_features(folder: Path, passes: Callable[[], Iterable[Part]], view: int, samples: int) -> bool:
    """Write what a pass gives, float32 (B, ...) by layer and batch after batch; all of it or nothing.

    A second pass is made where values of layers are beyond float16 for the first time. False where the features do
    not fit: the limit, or the disk.
    """
    try:
        wide = _written(folder, passes(), view, samples)
        if wide:
            for layer in wide:
                _wide(folder, layer).touch()
            wide = _written(folder, passes(), view, samples)
        return wide is not None
    except OSError:
        return False


def _written(folder: Path, parts: Iterable[Part], view: int, samples: int) -> set[str] | None:
    """Write the parts, and name the layers with values beyond what they are kept as: then nothing is left written.

    None where the features do not fit.
    """
    too_wide: set[str] = set()
    written: dict[Path, Path] = {}
    try:
        with ExitStack() as stack:
            files: dict[str, BinaryIO] = {}
            for part in parts:
                if not files:
                    if not _fits(folder, part, samples):
                        return None
                    files = _create(folder, part, view, samples, written, stack)
                for name, features in part.items():
                    with np.errstate(over="ignore"):
                        kept = np.ascontiguousarray(features, _type(folder, name))
                    if bool((np.isinf(kept) & np.isfinite(features)).any()):
                        too_wide.add(name)
                    if not too_wide:
                        files[name].write(kept.data)
        if not too_wide:
            for temporary, path in written.items():
                temporary.replace(path)
    finally:
        for temporary in written:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
    return too_wide


def _fits(folder: Path, part: Part, samples: int) -> bool:
    """Whether the limit and half of what the disk has free leave room."""
    wanted: int = sum(features[0].size * _type(folder, name).itemsize * samples for name, features in part.items())
    used: int = sum(file.stat().st_size for file in folder.glob("*.npy"))
    return used + wanted <= LIMIT and 2 * wanted <= int(shutil.disk_usage(folder).free)


def _create(
    folder: Path, part: Part, view: int, samples: int, written: dict[Path, Path], stack: ExitStack
) -> dict[str, BinaryIO]:
    files: dict[str, BinaryIO] = {}
    for name, features in part.items():
        path = _path(folder, name, view)
        temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp")
        written[temporary] = path
        files[name] = stack.enter_context(temporary.open("wb"))
        shape = (samples, *features.shape[1:])
        header = {"descr": _type(folder, name).str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(files[name], header)
    return files


def _type(folder: Path, layer: str) -> np.dtype[np.floating]:
    """What a layer's values are kept as."""
    return np.dtype("<f4" if _wide(folder, layer).exists() else "<f2")


def _wide(folder: Path, layer: str) -> Path:
    return folder / f"{quote(layer, safe='@')}.float32"


def _path(folder: Path, layer: str, view: int) -> Path:
    return folder / f"{quote(layer, safe='@')}-{view}.npy"
