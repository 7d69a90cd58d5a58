"""Synthetic images as an ordinary task, made once and kept."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from evaluators.datafree.bank import Bank
from evaluators.datafree.synthesis import Recipe, synthesise
from evaluators.tasks.augment import POLICIES
from evaluators.tasks.image_task import ImageTask
from evaluators.tasks.images import ArrayImages
from evaluators.tasks.split import divide
from evaluators.tasks.task import Split
from evaluators.tasks.whole_folder import whole_folder
from evaluators.teachers.teacher import Teacher
from understudy import DataError

AGREEMENT = (
    "there are no data: accuracy means agreement with the teacher on synthetic images that the student did not see"
)
JUDGED = "the students learn from synthetic images alone: the validation data only judge them"


class BlankTask(ImageTask):
    """The shape of data that are not there; its images are grey noise, for trying a teacher."""

    def images(self, split: Split, ids: ArrayLike, resolution: int, view: int = 0) -> Tensor:
        """Noise around mid-grey, (B, C, R, R) in 0..1."""
        draws = torch.Generator().manual_seed(self.seed)
        shape = (len(np.asarray(ids)), self.channels, resolution, resolution)
        return 0.5 + 0.1 * torch.rand(shape, generator=draws)


def images_for(classes: int) -> int:
    """How many images are made for so many classes: 128 for each, at least 3,840."""
    return max(3840, 128 * classes)


def blank_task(
    classes: int, channels: int, size: int, mean: tuple[float, ...], std: tuple[float, ...]
) -> ImageTask:
    """What a teacher is told of data that are not there: shape, classes and normalisation; it has no images."""
    names = tuple(str(number) for number in range(classes))
    nothing = {"train": 0, "val": 0, "test": 0}
    return BlankTask(Path(), names, channels, size, mean, std, nothing, POLICIES["shift"], 0, "no data")


def synthetic_task(
    teacher: Teacher,
    shape: ImageTask,
    recipe: Recipe,
    count: int,
    *,
    side: int | None = None,
    cache: Path,
    seed: int,
    judge: ImageTask | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ImageTask:
    """A task of at least ``count`` images made from the teacher, who labels them; ``shape`` is a blank task.

    They are pictures of ``side`` pixels (None: as many as the teacher takes), scaled to what teacher and students
    take as real pictures are: where these are smaller than what the teacher takes, images made at its size would
    reach a smaller student blurred twice. Every part is on disk before the next one begins, and a call after a
    kill goes on as if there had been none. Where ``judge`` is given, its images are the validation and test
    splits, at that side too, and no student learns from them; else a part of the synthetic ones is. Raises
    ``TeacherError`` for a teacher that nothing can be made from, ``DataError`` for a ``judge`` of other images or
    classes.
    """
    side = side or shape.image_size
    parts = [
        teacher.fingerprint,
        str(recipe),
        str(count),
        str(seed),
        str(side),
        str(shape),
        judge.fingerprint if judge else "",
    ]
    fingerprint = hashlib.blake2b("\n".join(parts).encode(), digest_size=12).hexdigest()
    folder = cache / f"{fingerprint}-synthetic"
    if judge is not None:
        _check(judge, shape)
    begun = cache / f"{fingerprint}-bank"
    if not (folder / "task.json").exists():
        bank = Bank(begun)
        _fill(bank, teacher, shape, side, recipe, count, seed, progress)
        _lay_out(folder, shape, bank, judge, seed, fingerprint)
    shutil.rmtree(begun, ignore_errors=True)  # here, so that a kill before it leaves nothing for ever
    return ImageTask.open(folder)


def _fill(
    bank: Bank,
    teacher: Teacher,
    shape: ImageTask,
    side: int,
    recipe: Recipe,
    count: int,
    seed: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Make what the bank lacks of ``count`` images."""
    more = synthesise(teacher, shape.channels, side, recipe, seed, bank)
    while bank.size < count:
        next(more)
        if progress is not None:
            progress(min(bank.size, count), count)


def _lay_out(
    folder: Path, shape: ImageTask, bank: Bank, judge: ImageTask | None, seed: int, fingerprint: str
) -> None:
    parts, targets = bank.parts, bank.named
    order: tuple[NDArray[np.int64], ...]
    if judge is None:
        order = _divided(targets, shape, seed)
        labels, note = shape.labels, AGREEMENT
    else:
        parts += [judge.pixels(split, parts[0].shape[-1]) for split in ("val", "test")]
        bounds = np.cumsum([0, len(targets), *(judge.size(split) for split in ("val", "test"))]).tolist()
        targets = np.concatenate([targets, judge.targets("val"), judge.targets("test")])
        order = tuple(np.arange(*pair) for pair in pairwise(bounds))
        labels, note = judge.labels, JUDGED
    task = replace(
        shape,
        folder=folder,
        labels=labels,
        counts=dict(zip(("train", "val", "test"), map(len, order), strict=True)),
        seed=seed,
        fingerprint=fingerprint,
        notes=(note,),
    )
    _write(task, parts, targets, np.concatenate(order))


def _check(judge: ImageTask, shape: ImageTask) -> None:
    if (judge.classes, judge.channels) != (shape.classes, shape.channels):
        raise DataError(
            f"the validation data have {judge.classes} classes and {judge.channels} channels, but the teacher "
            f"has {shape.classes} and {shape.channels} as told: correct --classes or --input-shape"
        )


def _divided(targets: NDArray[np.int64], shape: ImageTask, seed: int) -> tuple[NDArray[np.int64], ...]:
    """Train, val and test: by class, or at random where some class has too few images to be in each."""
    if int(np.bincount(targets, minlength=shape.classes).min()) >= 3:
        return divide(targets, None, shape.labels, seed)
    order = np.random.default_rng(seed).permutation(len(targets))
    return tuple(np.split(order, [int(0.7 * len(order)), int(0.85 * len(order))]))


def _write(
    task: ImageTask, parts: list[NDArray[np.uint8]], targets: NDArray[np.int64], order: NDArray[np.int64]
) -> None:
    """The task's folder; the images go from the bank's files into its own, never all in memory."""
    with whole_folder(task.folder) as draft:
        ArrayImages.stack((np.moveaxis(part, 1, -1) for part in parts), len(targets), draft)
        np.save(draft / "order.npy", order)
        np.save(draft / "targets.npy", targets[order])
        replace(task, folder=draft).save()
