"""From pictures with masks as a user has them to a prepared ``SegmentationTask`` on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evaluators.tasks.augment import POLICIES, Augment
from evaluators.tasks.dense import lay_out_pictures, map_size, parted
from evaluators.tasks.images import FileImages
from evaluators.tasks.mask_folder import Masked
from evaluators.tasks.prepare import LISTED, OnBad, survey
from evaluators.tasks.segmentation_task import SegmentationTask
from evaluators.tasks.task import SPLITS
from results.bundle.masks import VOID
from understudy import DataError

METRIC = "accuracy is the mean intersection over union of the classes (mIoU), at the size of the masks"


def create_segmentation_task(
    masked: Masked,
    *,
    cache: Path,
    seed: int,
    image_size: int | None = None,
    augment: Augment | None = None,
    on_bad: OnBad = "refuse",
) -> SegmentationTask:
    """Prepare pictures with masks as a task in a folder of ``cache``, or open it there if it was prepared before.

    ``image_size`` is as of ``map_size``. Raises ``DataError`` for pictures and masks that cannot be read or do not
    belong together (``on_bad="skip"`` leaves such out and notes it), and for too few pictures.
    """
    images = FileImages(masked.pictures)
    readable, looks, notes = survey(images, on_bad)
    size = map_size(image_size, looks)
    maps, kept = _masks(masked, readable, size, on_bad, notes)
    numbers = readable[kept]
    parts = parted(None if masked.given is None else masked.given[numbers], len(numbers), seed)
    return lay_out_pictures(
        SegmentationTask,
        images,
        [looks[index] for index in kept],
        numbers,
        parts,
        {"masks": maps[np.concatenate(parts)]},
        labels=masked.labels,
        size=size,
        augment=POLICIES["standard"] if augment is None else augment,
        seed=seed,
        notes=[METRIC, *notes, *_unseen(maps, parts, masked.labels)],
        cache=cache,
    )


def _masks(
    masked: Masked, readable: NDArray[np.int64], size: int, on_bad: OnBad, notes: list[str]
) -> tuple[NDArray[np.uint8], list[int]]:
    """The usable masks, uint8 (n, size, size), and their places among the readable pictures; notes the others."""
    maps, kept, bad = [], [], []
    for place, index in enumerate(readable.tolist()):
        try:
            maps.append(_scaled(_checked(masked, index), size))
        except DataError:
            if on_bad == "refuse":
                raise
            bad.append(str(masked.masks[index]))
            continue
        kept.append(place)
    if bad:
        listed = ", ".join(bad[:LISTED]) + (", ..." if len(bad) > LISTED else "")
        notes.append(f"{len(bad)} images with unusable masks were left out: {listed}")
    if not kept:
        raise DataError("none of the masks can be used: check that they belong to the images")
    return np.stack(maps), kept


def _checked(masked: Masked, index: int) -> NDArray[np.uint8]:
    from PIL import Image

    mask, picture = masked.read(index), masked.pictures[index]
    with Image.open(picture) as image:
        width, height = image.size
    if mask.shape != (height, width):
        raise DataError(
            f"the mask {masked.masks[index]} has {mask.shape[1]} x {mask.shape[0]} pixels, but its image "
            f"{picture} has {width} x {height}: save it at the image's size"
        )
    if (mask == VOID).all():
        raise DataError(f"the mask {masked.masks[index]} is void everywhere: remove it and its image")
    return mask


def _scaled(mask: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The nearest pixels of a mask, (size, size)."""
    rows, columns = (((np.arange(size) + 0.5) * side / size).astype(np.int64) for side in mask.shape)
    scaled: NDArray[np.uint8] = mask[rows][:, columns]
    return scaled


def _unseen(maps: NDArray[np.uint8], parts: Sequence[NDArray[np.int64]], labels: tuple[str, ...]) -> list[str]:
    """Notes of classes that a split does not show."""
    notes = []
    for split, part in zip(SPLITS, parts, strict=True):
        seen = set(np.unique(maps[part]).tolist())
        lacking = [label for number, label in enumerate(labels) if number not in seen]
        if lacking:
            notes.append(f"no mask of the {split} split shows {', '.join(lacking[:LISTED])}")
    return notes
