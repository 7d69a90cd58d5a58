"""From pictures with masks as a user has them to a prepared ``SegmentationTask`` on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators.tasks.augment import POLICIES, Augment
from evaluators.tasks.images import FileImages
from evaluators.tasks.mask_folder import Masked
from evaluators.tasks.prepare import LISTED, OnBad, channel_figures, default_size, place_hash, survey
from evaluators.tasks.segmentation_task import SegmentationTask
from evaluators.tasks.split import divide, shared_samples
from evaluators.tasks.task import SPLITS
from evaluators.tasks.whole_folder import whole_folder
from results.bundle.masks import VOID
from understudy import DataError

METRIC = "accuracy is the mean intersection over union of the classes (mIoU), at the size of the masks"
_STEP, _LEAST = 16, 32


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

    ``image_size`` (pixels, a multiple of 16 from 32 on) defaults to the median shorter side, at most 224. Raises
    ``DataError`` for pictures and masks that cannot be read or do not belong together (``on_bad="skip"`` leaves
    such out and notes it), for another size, and for too few pictures.
    """
    if image_size is not None and (image_size % _STEP or image_size < _LEAST):
        raise DataError(f"--image-size must be a multiple of {_STEP} from {_LEAST} on for masks, not {image_size}")
    images = FileImages(masked.pictures)
    readable, looks, notes = survey(images, on_bad)
    size = image_size or max(_LEAST, _STEP * (default_size([look.shorter_side for look in looks]) // _STEP))
    maps, kept = _masks(masked, readable, size, on_bad, notes)
    chosen = readable[kept]
    given = None if masked.given is None else masked.given[chosen]
    parts = divide(np.zeros(len(chosen), np.int64), given, ("pictures with masks",), seed)
    digests = [looks[index].digest for index in kept]
    if shared := shared_samples(digests, parts):
        notes.append(f"{shared} images of the validation or test split are also in an earlier split")
    order = np.concatenate(parts)
    notes += [METRIC, *_unseen(maps, parts, masked.labels)]
    policy = POLICIES["standard"] if augment is None else augment
    facts: dict[str, Any] = {
        "labels": masked.labels,
        "channels": 1 if all(looks[index].grey for index in kept) else 3,
        "image_size": size,
        "counts": dict(zip(SPLITS, map(len, parts), strict=True)),
        "seed": seed,
        "augment": asdict(policy),
    }
    content = [maps[order].tobytes(), *(digests[index] for index in order)]
    told = json.dumps([SegmentationTask.kind, facts]).encode()
    fingerprint = hashlib.blake2b(told + b"".join(content), digest_size=12).hexdigest()
    folder = cache / f"{fingerprint}-{place_hash(images, chosen[order])}"
    if not (folder / "task.json").exists():
        with whole_folder(folder) as draft:
            images.save(draft)
            np.save(draft / "order.npy", chosen[order])
            np.save(draft / "masks.npy", maps[order])
            np.save(draft / "targets.npy", np.zeros(len(order), np.int64))
        given_facts = {**facts, "augment": policy}
        unscaled = SegmentationTask(**given_facts, folder=folder, mean=(), std=(), fingerprint=fingerprint)
        mean, std = channel_figures(unscaled.pixels("train", size))
        replace(unscaled, mean=mean, std=std, notes=tuple(notes)).save()
    return SegmentationTask.open(folder)


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
