"""Pixels of a whole data set at one size: decoded once, on disk, shared by all processes."""

from __future__ import annotations

import fcntl
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from evaluators.tasks.images import Images
from results.bundle.runner import resize
from understudy import DataError

Scale = Callable[[NDArray[np.uint8], int], NDArray[np.uint8]]
_CHUNK = 256
_Part = TypeVar("_Part")
_Made = TypeVar("_Made")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock that every process on this machine respects; a killed holder lets go of it.

    Raises ``DataError`` when the folder cannot be written.
    """
    try:
        handle = path.open("w")
    except OSError as error:
        raise _unwritable(path.parent, error) from error
    with handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def write_pixels(
    images: Images, order: NDArray[np.int64], channels: int, stores: Mapping[int, Path], scale: Scale = resize
) -> None:
    """Write ``images[order]`` as uint8 (N, C, R, R) for each R of ``stores``, decoding each picture once.

    ``scale`` makes a picture of that size, uint8 (R, R, C), of one of any.
    A file appears complete or not at all. Raises ``DataError`` for a picture that cannot be decoded, and
    when the disk is full.
    """
    temporary = {size: path.with_name(f".{path.name}.{os.getpid()}.tmp") for size, path in stores.items()}
    try:
        _write(images, order, channels, temporary, scale)
        for size, path in stores.items():
            temporary[size].replace(path)
    except OSError as error:
        raise _unwritable(stores[min(stores)].parent, error) from error
    finally:
        for path in temporary.values():
            path.unlink(missing_ok=True)


def _unwritable(folder: Path, error: OSError) -> DataError:
    return DataError(
        f"cannot write to {folder} ({error.strerror}): free some space there, or put the runs elsewhere (--runs)"
    )


def _write(
    images: Images, order: NDArray[np.int64], channels: int, paths: Mapping[int, Path], scale: Scale
) -> None:
    def render(chunk: NDArray[np.int64]) -> dict[int, NDArray[np.uint8]]:
        made = {size: np.empty((len(chunk), channels, size, size), np.uint8) for size in paths}
        for row, index in enumerate(chunk):
            picture = images.read(int(index), channels)
            for size, block in made.items():
                block[row] = scale(picture, size).transpose(2, 0, 1)
        return made

    with ExitStack() as stack:
        files = {size: stack.enter_context(path.open("wb")) for size, path in paths.items()}
        for size, file in files.items():
            shape = (len(order), channels, size, size)
            np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for made in _in_turn(render, np.array_split(order, -(-len(order) // _CHUNK))):
            for size, block in made.items():
                files[size].write(block.data)


def _in_turn(work: Callable[[_Part], _Made], parts: Sequence[_Part]) -> Iterator[_Made]:
    """The results in order, a few threads at work (decoding lets go of the interpreter), few kept waiting."""
    threads = min(4, len(os.sched_getaffinity(0)))
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[_Made]] = deque()
        for part in parts:
            waiting.append(pool.submit(work, part))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
