"""From the answers of a student of detection to boxes: what its bundle carries as ``boxes.py``.

Needs numpy alone; Pillow draws the pictures.

Answers, (1 + classes + 5, P, 1), are of the places of several square maps over the whole picture, of so many
``sides``, each row by row, one map after the other. They say of each place: the logits of nothing and of each
class; the logarithms of how far the left, top, right and bottom sides of its box are, as multiples of ``REACH``
places of its map (FCOS; Tian et al., 2019, arXiv:1904.01355); and the logit of how much that box and what is there
overlap (IoU-Net; Jiang et al., 2018, arXiv:1807.11590).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

REACH = 2.0
SIDES = 4
BESIDE = SIDES + 1
"""What is said of a place beside its class: the sides and the overlap."""
SURE = 0.3
"""The least score of a box that is shown."""
_FARTHEST = 4.0
_SAME = 0.5
_MOST = 100
_COLOURS = ((230, 57, 70), (29, 128, 211), (42, 157, 68), (244, 162, 39), (131, 56, 236), (0, 168, 168))


def boxes_of(answers: Floats, sides: tuple[int, ...], least: float = SURE) -> Floats:
    """The boxes in the answers to a picture, (n, 6): class, score, left, top, right, bottom, best first.

    Sides are shares of the picture's; a score is the geometric mean of the share of the class and of the overlap
    that is expected. Of boxes of one class that overlap by more than half (intersection over union) the best
    stays; at most a hundred with a score of at least ``least``.
    """
    answers = answers.reshape(len(answers), -1)
    logits = answers[:-BESIDE]
    odds = np.exp(logits - logits.max(0))
    quality = 1 / (1 + np.exp(-answers[-1]))
    shares = np.sqrt((odds / odds.sum(0))[1:] * quality)
    corners = corners_of(answers[-BESIDE:-1], sides).clip(0, 1).T
    found = []
    for label, scores in enumerate(shares):
        order = np.argsort(-scores, kind="stable")[: 10 * _MOST]
        order = order[scores[order] >= least]
        kept = order[_apart(corners[order])]
        found.append(np.column_stack([np.full(len(kept), label), scores[kept], corners[kept]]))
    every = np.concatenate(found)
    best: Floats = every[np.argsort(-every[:, 1], kind="stable")][:_MOST].astype(np.float32)
    return best


def corners_of(distances: Floats, sides: tuple[int, ...]) -> Floats:
    """Left, top, right and bottom of each place's box, (4, P), from the logarithms of its distances, (4, P)."""
    x, y, length = places(sides)
    far = REACH * length * np.exp(np.minimum(distances, _FARTHEST))
    corners: Floats = np.stack([x - far[0], y - far[1], x + far[2], y + far[3]])
    return corners


@lru_cache(maxsize=8)
def places(sides: tuple[int, ...]) -> Floats:
    """Of the places of maps of so many a side: where their middles are, across and down, and how long they are.

    (3, P), in shares of the picture's sides.
    """
    each = []
    for side in sides:
        middles = (np.arange(side, dtype=np.float32) + 0.5) / side
        y, x = np.meshgrid(middles, middles, indexing="ij")
        each.append(np.stack([x.ravel(), y.ravel(), np.full(side * side, 1 / side, np.float32)]))
    found: Floats = np.concatenate(each, axis=1)
    return found


def overlaps(box: Floats, others: Floats) -> Floats:
    """Intersection over union of one box, (4,), with others, (n, 4)."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    both = (high - low).clip(0).prod(1)
    union = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(1) - both
    shares: Floats = both / np.maximum(union, 1e-9)
    return shares


def described(boxes: Floats, labels: Sequence[str], height: int, width: int) -> list[dict[str, Any]]:
    """Boxes as plain values: ``label``, ``score``, and ``box``: left, top, right, bottom in pixels."""
    scale = np.array([width, height, width, height])
    return [
        {
            "label": labels[int(label)],
            "score": round(float(score), 4),
            "box": [round(float(side), 1) for side in sides * scale],
        }
        for label, score, sides in zip(boxes[:, 0], boxes[:, 1], boxes[:, 2:], strict=True)
    ]


def drawn(picture: Pixels, boxes: Floats, labels: Sequence[str] = ()) -> Pixels:
    """A picture, uint8 (H, W, 1 or 3), with boxes around what was found, and their ``labels``; uint8 (H, W, 3)."""
    from PIL import Image, ImageDraw

    coloured = np.repeat(picture, 3, axis=2) if picture.shape[2] == 1 else picture
    image = Image.fromarray(coloured)
    pen, (height, width) = ImageDraw.Draw(image), coloured.shape[:2]
    for box in boxes:
        sides = box[2:] * np.array([width, height, width, height])
        colour = _COLOURS[int(box[0]) % len(_COLOURS)]
        pen.rectangle(sides.tolist(), outline=colour, width=max(1, round(min(height, width) / 150)))
        if labels:
            pen.text((sides[0] + 3, sides[1] + 2), f"{labels[int(box[0])]} {100 * box[1]:.0f} %", fill=colour)
    return np.asarray(image)


def write_boxes(
    source: str | Path, picture: Pixels, boxes: Floats, labels: Sequence[str], folder: Path
) -> tuple[Path, Path]:
    """Write ``<name>.boxes.json`` and ``<name>.boxes.png`` into a folder.

    Raises ``OSError`` where they cannot be written, ``ImportError`` without Pillow.
    """
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    told, shown = (folder / f"{Path(source).stem}.boxes.{kind}" for kind in ("json", "png"))
    told.write_text(json.dumps(described(boxes, labels, *picture.shape[:2]), indent=1) + "\n", encoding="utf-8")
    Image.fromarray(drawn(picture, boxes, labels)).save(shown)
    return told, shown


def _apart(corners: Floats) -> list[int]:
    """Which of some boxes, best first, are not too much like a better one."""
    kept: list[int] = []
    left = np.arange(len(corners))
    while len(left) and len(kept) < _MOST:
        best, left = int(left[0]), left[1:]
        kept.append(best)
        left = left[overlaps(corners[best], corners[left]) <= _SAME]
    return kept
