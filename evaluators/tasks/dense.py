"""Pictures of which more is told than a class, prepared on disk: those with masks, boxes and questions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from evaluators.tasks.augment import Augment
from evaluators.tasks.image_task import ImageTask
from evaluators.tasks.images import Images, Look
from evaluators.tasks.prepare import channel_figures, default_size, place_hash
from evaluators.tasks.split import divide, shared_samples
from evaluators.tasks.task import SPLITS
from evaluators.tasks.whole_folder import whole_folder
from understudy import DataError

STEP, LEAST = 16, 32
Kind = TypeVar("Kind", bound=ImageTask)


def map_size(image_size: int | None, looks: Sequence[Look]) -> int:
    """The size of images with maps, pixels: the one asked for, or the median shorter side, at most 224.

    Raises ``DataError`` unless it is a multiple of 16 from 32 on.
    """
    if image_size is not None and (image_size % STEP or image_size < LEAST):
        raise DataError(f"--image-size must be a multiple of {STEP} from {LEAST} on here, not {image_size}")
    return image_size or max(LEAST, STEP * (default_size([look.shorter_side for look in looks]) // STEP))


def parted(given: NDArray[np.str_] | None, count: int, seed: int) -> tuple[NDArray[np.int64], ...]:
    """Pictures in train, val and test, as given or drawn by the seed; raises ``DataError`` for too few."""
    return divide(np.zeros(count, np.int64), given, ("pictures",), seed)


def lay_out_pictures(
    kind: type[Kind],
    images: Images,
    looks: Sequence[Look],
    numbers: NDArray[np.int64],
    parts: Sequence[NDArray[np.int64]],
    arrays: Mapping[str, NDArray[Any]],
    *,
    labels: Sequence[str],
    size: int,
    augment: Augment,
    seed: int,
    notes: Sequence[str],
    cache: Path,
) -> Kind:
    """The task of pictures, ``numbers`` of ``images`` with their ``looks``, by split, and of what is told of them.

    ``arrays`` are that by name, in the order of the splits. Raises ``DataError`` when it cannot be written.
    """
    order = np.concatenate(parts)
    digests = [look.digest for look in looks]
    shared = shared_samples(digests, parts)
    doubled = [f"{shared} images of the validation or test split are also in an earlier split"] if shared else []
    facts: dict[str, Any] = {
        "labels": tuple(labels),
        "channels": 1 if all(look.grey for look in looks) else 3,
        "image_size": size,
        "counts": dict(zip(SPLITS, map(len, parts), strict=True)),
        "seed": seed,
        "augment": asdict(augment),
    }
    digest = hashlib.blake2b(json.dumps([kind.kind, facts]).encode(), digest_size=12)
    for content in (*(digests[index] for index in order), *(array.tobytes() for array in arrays.values())):
        digest.update(content)
    fingerprint = digest.hexdigest()
    folder = cache / f"{fingerprint}-{place_hash(images, numbers[order])}"
    if not (folder / "task.json").exists():
        with whole_folder(folder) as draft:
            images.save(draft)
            np.save(draft / "order.npy", numbers[order])
            for name, array in arrays.items():
                np.save(draft / f"{name}.npy", array)
            np.save(draft / "targets.npy", np.zeros(len(order), np.int64))
        known = {**facts, "augment": augment}
        unscaled = kind(**known, folder=folder, mean=(), std=(), fingerprint=fingerprint)
        mean, std = channel_figures(unscaled.pixels("train", size))
        replace(unscaled, mean=mean, std=std, notes=(*notes, *doubled)).save()
    return kind.open(folder)
