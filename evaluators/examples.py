"""Pictures of what a student of masks or boxes does, beside what is given and what the teacher does."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evaluators.tasks.detection_task import DetectionTask
from evaluators.tasks.map_task import MapTask
from results.bundle.boxes import boxes_of, drawn
from results.bundle.masks import mask_of, overlay

FILE = "examples.png"
_COUNT, _MARGIN, _LEAST_SIDE = 4, 4, 160


def write_examples(task: MapTask, logits: Tensor, teacher: NDArray[np.float32] | None, path: Path) -> None:
    """Write rows of picture, what is given of it, the teacher's answer (if any) and the student's, as one PNG.

    They are the test pictures on which student and teacher (or, without one, student and masks) agree least.
    ``logits`` and ``teacher`` are of the test split, (N, *answer_shape).
    """
    from PIL import Image

    show = partial(_shown_boxes, task.map_sides) if isinstance(task, DetectionTask) else _shown_masks
    side, targets = task.image_size, task.targets("test")
    rows = []
    for index in _unlike(task, logits, teacher):
        picture = task.pixels("test", side)[index].transpose(1, 2, 0)
        times = -(-_LEAST_SIDE // side)
        large = picture.repeat(times, axis=0).repeat(times, axis=1)
        answers = [logits[index].numpy(), *([] if teacher is None else [teacher[index]])]
        rows.append(_joined(show(large, targets[index], answers[::-1]), axis=1))
    Image.fromarray(_joined(rows, axis=0)).save(path)


def _unlike(task: MapTask, logits: Tensor, teacher: NDArray[np.float32] | None) -> NDArray[np.intp]:
    """The pictures that are shown."""
    others = logits if teacher is None else torch.from_numpy(np.array(teacher))
    if teacher is None:
        scores = [
            task.score(logits[[index]], task.targets("test")[index : index + 1]) for index in range(len(logits))
        ]
    else:
        scores = [task.agreement(logits[[index]], others[[index]]) for index in range(len(logits))]
    return np.argsort(scores, kind="stable")[:_COUNT]


def _shown_masks(
    picture: NDArray[np.uint8], given: NDArray[np.uint8], answers: list[NDArray[np.float32]]
) -> list[NDArray[np.uint8]]:
    side = picture.shape[0]
    plain = np.repeat(picture, 3, axis=2) if picture.shape[2] == 1 else picture
    times = side // given.shape[0]
    masks = [given.repeat(times, axis=0).repeat(times, axis=1), *(mask_of(each, side, side) for each in answers)]
    return [plain, *(overlay(picture, mask) for mask in masks)]


def _shown_boxes(
    sides: tuple[int, ...],
    picture: NDArray[np.uint8],
    given: NDArray[np.float32],
    answers: list[NDArray[np.float32]],
) -> list[NDArray[np.uint8]]:
    scored = np.insert(given, 1, 1.0, axis=1)
    return [drawn(picture, scored), *(drawn(picture, boxes_of(each, sides)) for each in answers)]


def _joined(pictures: list[NDArray[np.uint8]], axis: int) -> NDArray[np.uint8]:
    """Pictures, uint8 (H, W, 3), side by side with a white margin between."""
    shape = list(pictures[0].shape)
    shape[axis] = _MARGIN
    margin = np.full(shape, 255, np.uint8)
    return np.concatenate([part for each in pictures for part in (margin, each)][1:], axis=axis)
