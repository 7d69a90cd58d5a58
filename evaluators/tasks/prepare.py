"""From samples as a user has them to a prepared ``ImageTask`` on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from evaluators.tasks.augment import POLICIES, Augment
from evaluators.tasks.image_task import ImageTask
from evaluators.tasks.images import Images, Look
from evaluators.tasks.split import divide, shared_samples
from evaluators.tasks.task import SPLITS
from evaluators.tasks.whole_folder import whole_folder
from understudy import DataError

OnBad = Literal["refuse", "skip"]
LISTED = 5


@dataclass(frozen=True)
class Samples:
    """Pictures with classes: ``targets`` int64 (N,) index ``labels``; ``given`` is the split of each sample
    ("train", "val", "test") where the data come divided; ``augment`` suits the data by default;
    ``image_size`` is a side to prefer over the pictures' own.
    """

    images: Images
    targets: NDArray[np.int64]
    labels: tuple[str, ...]
    given: NDArray[np.str_] | None = None
    augment: Augment = POLICIES["none"]
    image_size: int | None = None


def create_task(
    samples: Samples,
    *,
    cache: Path,
    seed: int,
    image_size: int | None = None,
    augment: Augment | None = None,
    on_bad: OnBad = "refuse",
    least_classes: int = 2,
) -> ImageTask:
    """Prepare samples as a task in a folder of ``cache``, or open it there if it was prepared before.

    ``image_size`` (pixels) defaults to the median shorter side, a multiple of 8 in 8..224. Raises
    ``DataError`` for fewer than ``least_classes``, a class too small to split, and a picture that cannot be read
    (``on_bad="skip"`` leaves such out and notes it).
    """
    kept, looks, notes = survey(samples.images, on_bad)
    if len(set(samples.targets[kept].tolist())) < least_classes:
        raise DataError(
            f"the data have fewer than two classes ({', '.join(samples.labels)}): add images of another"
        )
    given = None if samples.given is None else samples.given[kept]
    parts = divide(samples.targets[kept], given, samples.labels, seed)
    shared = shared_samples([look.digest for look in looks], parts)
    if shared:
        notes.append(f"{shared} images of the validation or test split are also in an earlier split")
    size = image_size or samples.image_size or default_size([look.shorter_side for look in looks])
    augment = samples.augment if augment is None else augment
    order = np.concatenate(parts)
    facts: dict[str, Any] = {
        "labels": samples.labels,
        "channels": 1 if all(look.grey for look in looks) else 3,
        "image_size": size,
        "counts": dict(zip(SPLITS, map(len, parts), strict=True)),
        "seed": seed,
        "augment": asdict(augment),
    }
    content = [samples.targets[kept][order].tobytes(), *(looks[index].digest for index in order)]
    fingerprint = hashlib.blake2b(json.dumps(facts).encode() + b"".join(content), digest_size=12).hexdigest()
    folder = cache / f"{fingerprint}-{place_hash(samples.images, kept[order])}"
    if not (folder / "task.json").exists():
        _lay_out(folder, samples, kept[order])
        unscaled = ImageTask(
            **{**facts, "augment": augment}, folder=folder, mean=(), std=(), fingerprint=fingerprint
        )
        mean, std = channel_figures(unscaled.pixels("train", size))
        replace(unscaled, mean=mean, std=std, notes=tuple(notes)).save()
    return ImageTask.open(folder)


def default_size(sides: Sequence[int]) -> int:
    """Median of the shorter sides, rounded to a multiple of 8 and held within 8..224 pixels."""
    return int(min(224, max(8, 8 * round(float(np.median(sides)) / 8))))


def place_hash(images: Images, order: NDArray[np.int64]) -> str:
    """A hash of where the pictures are, so that equal pictures elsewhere are not looked for here."""
    names = "\n".join(images.name(int(index)) for index in order)
    return hashlib.blake2b(names.encode(), digest_size=4).hexdigest()


def survey(images: Images, on_bad: OnBad) -> tuple[NDArray[np.int64], list[Look], list[str]]:
    """Numbers and looks of the usable pictures, and a note of the others."""
    kept, looks, bad = [], [], []
    for index in range(len(images)):
        try:
            look = images.look(index)
            if on_bad == "skip":
                images.read(index, 3)
        except DataError:
            if on_bad == "refuse":
                raise
            bad.append(images.name(index))
            continue
        kept.append(index)
        looks.append(look)
    if not kept:
        raise DataError("none of the images can be read: check that the data are image files")
    listed = ", ".join(bad[:LISTED]) + (", ..." if len(bad) > LISTED else "")
    return (
        np.array(kept, np.int64),
        looks,
        [f"{len(bad)} unreadable images were left out: {listed}"] if bad else [],
    )


def _lay_out(folder: Path, samples: Samples, order: NDArray[np.int64]) -> None:
    """Write what ``ImageTask`` reads, the whole folder at once."""
    with whole_folder(folder) as draft:
        samples.images.save(draft)
        np.save(draft / "order.npy", order)
        np.save(draft / "targets.npy", samples.targets[order])


def channel_figures(pixels: NDArray[np.uint8]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation by channel of uint8 (N, C, R, R), for images in 0..1."""
    levels = np.arange(256) / 255
    means, deviations = [], []
    for channel in range(pixels.shape[1]):
        counts = np.zeros(256)
        for block in _blocks(pixels[:, channel]):
            counts += np.bincount(block.ravel(), minlength=256)
        mean = float((counts * levels).sum() / counts.sum())
        means.append(mean)
        deviations.append(max(float(((counts * (levels - mean) ** 2).sum() / counts.sum()) ** 0.5), 1e-3))
    return tuple(means), tuple(deviations)


def _blocks(array: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    return np.array_split(array, -(-len(array) // 1024))
