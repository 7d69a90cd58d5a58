"""COCO's mean average precision, by COCO's own tools."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO

import numpy as np
from numpy.typing import NDArray

_SCALE = 1000.0
"""Pixels a side: COCO's measures are in pixels, and all sizes of boxes count here."""


def average_precision(
    found: Sequence[NDArray[np.float32]], given: Sequence[NDArray[np.float32]], classes: int
) -> float:
    """Mean over classes and overlaps of .5 to .95 of the average precision, in 0..1.

    ``found`` (n, 6) are class, score, left, top, right, bottom of each picture's boxes, ``given`` (n, 5) the same
    without a score, sides in shares; 0 where nothing was found or is given.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    if not any(map(len, found)) or not any(map(len, given)):
        return 0.0
    truth = [
        {"id": 1, "image_id": picture, "category_id": int(box[0]), "iscrowd": 0, **_sides(box[1:])}
        for picture, boxes in enumerate(given)
        for box in boxes
    ]
    for number, each in enumerate(truth, 1):
        each["id"] = number
    answers = [
        {"image_id": picture, "category_id": int(box[0]), "score": float(box[1]), "bbox": _sides(box[2:])["bbox"]}
        for picture, boxes in enumerate(found)
        for box in boxes
    ]
    with redirect_stdout(StringIO()):
        known = COCO()
        known.dataset = {
            "images": [{"id": picture} for picture in range(len(given))],
            "annotations": truth,
            "categories": [{"id": label} for label in range(classes)],
        }
        known.createIndex()
        judge = COCOeval(known, known.loadRes(answers), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return max(0.0, float(judge.stats[0]))


def _sides(sides: NDArray[np.float32]) -> dict[str, object]:
    left, top, right, bottom = (float(side) * _SCALE for side in sides)
    return {"bbox": [left, top, right - left, bottom - top], "area": (right - left) * (bottom - top)}
