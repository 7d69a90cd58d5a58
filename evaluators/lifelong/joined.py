"""Later data and what is replayed of the earlier, as one task for one training."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evaluators.lifelong.labels import Classes
from evaluators.lifelong.memory import Memory
from evaluators.tasks.augment import Augment
from evaluators.tasks.image_task import ImageTask
from evaluators.tasks.task import SPLITS, Split
from evaluators.tasks.whole_folder import whole_folder
from understudy import DataError

_BLOCK = 1024


@dataclass(frozen=True)
class Input:
    """What a student takes: ``resolution`` pixels a side, of a space for ``image_size``, normalised by channel."""

    channels: int
    image_size: int
    resolution: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    augment: Augment


@dataclass(frozen=True)
class _Part:
    pictures: NDArray[np.uint8]
    targets: NDArray[np.int64]
    ids: NDArray[np.int64]


def join_tasks(
    later: ImageTask, classes: Classes, memory: Memory | None, earlier: ImageTask | None, like: Input, cache: Path
) -> ImageTask:
    """A task that teaches the later data and the memory, and is judged on the later and the earlier data.

    It has pictures at the student's resolution only, and the student's normalisation. Those of the memory are
    repeated until a class of them is about as frequent as one of the later data (but no more than twice all of
    these): every repetition has views of its own. Its ``order`` numbers the pictures, equal for repetitions.
    Prepared in a folder of ``cache`` named by its content. Raises ``DataError`` when the later pictures do not
    fit the student, or the folder cannot be written.
    """
    _check(later, like)
    parts = {split: list(_parts(split, later, classes, memory, earlier, like)) for split in SPLITS}
    counts: dict[str, int] = {split: sum(len(part.targets) for part in found) for split, found in parts.items()}
    digest = hashlib.blake2b(f"{later.fingerprint} {classes.labels} {like}".encode(), digest_size=12)
    for part in (part for found in parts.values() for part in found):
        digest.update(part.targets.tobytes())
        digest.update(part.pictures[np.unique(part.ids, return_index=True)[1]].tobytes())
    fingerprint = digest.hexdigest()
    folder = cache / f"{fingerprint}-joined"
    if not (folder / "task.json").exists():
        _lay_out(folder, list(parts.values()), like.resolution)
        ImageTask(
            folder=folder,
            labels=classes.labels,
            channels=like.channels,
            image_size=like.image_size,
            mean=like.mean,
            std=like.std,
            counts=counts,
            augment=like.augment,
            seed=later.seed,
            fingerprint=fingerprint,
        ).save()
    return ImageTask.open(folder)


def distinct(task: ImageTask) -> NDArray[np.int64]:
    """The numbers of a task's training images, each picture once."""
    order: NDArray[np.int64] = np.load(task.folder / "order.npy", allow_pickle=False)[: task.size("train")]
    return np.sort(np.unique(order, return_index=True)[1])


def pictures_of(task: ImageTask, split: Split, like: Input) -> NDArray[np.uint8]:
    """Pictures of a split as the student takes them, uint8 (N, C, R, R); grey ones widened to its channels."""
    found = task.pixels(split, like.resolution)
    return np.repeat(found, 3, axis=1) if task.channels < like.channels else found


def _check(later: ImageTask, like: Input) -> None:
    if later.channels > like.channels:
        raise DataError(
            "the new images are in colour, but the student takes grey ones: convert them, or search anew"
        )


def _parts(
    split: Split, later: ImageTask, classes: Classes, memory: Memory | None, earlier: ImageTask | None, like: Input
) -> Iterator[_Part]:
    targets = classes.mapping[later.targets(split)]
    yield _Part(pictures_of(later, split, like), targets, np.arange(len(targets)))
    if split != "train" and earlier is not None:
        before = earlier.targets(split)
        yield _Part(pictures_of(earlier, split, like), before, len(targets) + np.arange(len(before)))
    if split == "train" and memory is not None and len(memory):
        again = np.tile(np.arange(len(memory)), _repeats(targets, memory.targets))
        yield _Part(memory.pictures[again], memory.targets[again], len(targets) + again)


def _repeats(later: NDArray[np.int64], memory: NDArray[np.int64]) -> int:
    even = (len(later) / len(np.unique(later))) / (len(memory) / len(np.unique(memory)))
    return max(1, round(min(even, 2 * len(later) / len(memory))))


def _lay_out(folder: Path, splits: list[list[_Part]], resolution: int) -> None:
    """Write targets, order and pixels, the whole folder at once; ``task.json`` makes it a task."""
    parts = [part for found in splits for part in found]
    with whole_folder(folder) as draft:
        np.save(draft / "targets.npy", np.concatenate([part.targets for part in parts]))
        np.save(draft / "order.npy", np.concatenate([part.ids for part in parts]))
        _write(draft / f"pixels-{resolution}.npy", [part.pictures for part in parts])


def _write(path: Path, blocks: list[NDArray[np.uint8]]) -> None:
    shape = (sum(map(len, blocks)), *blocks[0].shape[1:])
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for block in blocks:
            for start in range(0, len(block), _BLOCK):
                file.write(np.ascontiguousarray(block[start : start + _BLOCK]).data)
