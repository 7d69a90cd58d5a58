"""Pictures of what a student of segmentation does: its masks beside those given and the teacher's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from evaluators.tasks.segmentation_task import SegmentationTask
from results.bundle.masks import mask_of, overlay

FILE = "examples.png"
_COUNT, _MARGIN, _LEAST_SIDE = 4, 4, 160


def write_mask_examples(
    task: SegmentationTask, logits: Tensor, teacher: NDArray[np.float32] | None, path: Path
) -> None:
    """Write rows of picture, mask as given, teacher's mask (if any) and student's mask, as one PNG.

    They are the test pictures on which student and teacher (or, without one, student and mask) agree least.
    ``logits`` and ``teacher`` are of the test split, (N, classes, G, G).
    """
    from PIL import Image

    side, targets = task.image_size, task.targets("test")
    given = [mask_of(each, side, side) for each in logits.numpy()]
    wanted = list(targets) if teacher is None else [mask_of(each, side, side) for each in teacher]
    agreed = [float((ours == theirs).mean()) for ours, theirs in zip(given, wanted, strict=True)]
    rows = []
    for index in np.argsort(agreed, kind="stable")[:_COUNT]:
        masks = [targets[index], *([] if teacher is None else [wanted[index]]), given[index]]
        picture = task.pixels("test", side)[index].transpose(1, 2, 0)
        plain = np.repeat(picture, 3, axis=2) if picture.shape[2] == 1 else picture
        rows.append(_joined([plain, *(overlay(picture, mask) for mask in masks)], axis=1))
    times = -(-_LEAST_SIDE // side)
    Image.fromarray(_joined(rows, axis=0).repeat(times, axis=0).repeat(times, axis=1)).save(path)


def _joined(pictures: list[NDArray[np.uint8]], axis: int) -> NDArray[np.uint8]:
    """Pictures, uint8 (H, W, 3), side by side with a white margin between."""
    shape = list(pictures[0].shape)
    shape[axis] = _MARGIN
    margin = np.full(shape, 255, np.uint8)
    return np.concatenate([part for each in pictures for part in (margin, each)][1:], axis=axis)
