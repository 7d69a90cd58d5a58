"""From the answers of a student of segmentation to masks: what its bundle carries as ``masks.py``.

Needs numpy alone; Pillow writes the pictures.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

VOID = 255
"""Of a mask, where nothing is known: neither learnt nor judged."""
_SHARE = 0.5
"""Of the colour of a class over a picture."""


def mask_of(logits: Floats, height: int, width: int) -> Pixels:
    """Answers at a grid, (classes, G, G), to the likeliest class of each pixel, uint8 (height, width).

    The answers are scaled (bilinear, as torch's ``align_corners=False``) before they are compared, so that borders
    run between the points of the grid.
    """
    best, mask = np.full((height, width), -np.inf, np.float32), np.zeros((height, width), np.uint8)
    rows, columns = _lines(logits.shape[1], height), _lines(logits.shape[2], width)
    for number, plane in enumerate(logits):
        between = _between(_between(plane, rows).T, columns).T
        better = between > best
        best, mask = np.where(better, between, best), np.where(better, np.uint8(number), mask)
    return mask


def overlay(picture: Pixels, mask: Pixels) -> Pixels:
    """A picture, uint8 (H, W, 1 or 3), under the colours of its mask, uint8 (H, W, 3); class 0 is left clear."""
    coloured = np.repeat(picture, 3, axis=2) if picture.shape[2] == 1 else picture
    known = (mask != VOID) & (mask != 0)
    mixed = (1 - _SHARE) * coloured + _SHARE * colours(mask)
    return np.where(known[..., None], np.rint(mixed).astype(np.uint8), coloured)


def colours(mask: Pixels) -> Pixels:
    """A mask, uint8 (H, W), in colours that tell neighbouring numbers apart, uint8 (H, W, 3); class 0 is black.

    They are Pascal VOC's: the bits of the number, dealt to the three channels in turn from the highest down.
    """
    table = np.zeros((256, 3), np.uint8)
    for number in range(256):
        for bit in range(8):
            table[number, bit % 3] |= (number >> bit & 1) << (7 - bit // 3)
    return table[mask]


def shares(mask: Pixels, labels: list[str]) -> list[tuple[str, float]]:
    """The share of a mask that is of each class it shows, largest first."""
    counts = np.bincount(mask.ravel(), minlength=len(labels))[: len(labels)]
    order = [int(index) for index in np.argsort(-counts, kind="stable") if counts[index]]
    return [(labels[index], float(counts[index] / mask.size)) for index in order]


def write_pictures(source: str | Path, picture: Pixels, mask: Pixels, folder: Path) -> tuple[Path, Path]:
    """Write ``<name>.mask.png`` (grey, the number of the class) and ``<name>.overlay.png`` into a folder.

    Raises ``OSError`` where they cannot be written, ``ImportError`` without Pillow.
    """
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    paths = tuple(folder / f"{Path(source).stem}.{kind}.png" for kind in ("mask", "overlay"))
    for path, made in zip(paths, (mask, overlay(picture, mask)), strict=True):
        Image.fromarray(made).save(path)
    return paths[0], paths[1]


def _lines(source: int, target: int) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
    """The two lines of a grid between which each line of the target lies, and how far towards the second."""
    place = ((np.arange(target) + 0.5) * source / target - 0.5).clip(0, source - 1)
    first = np.floor(place).astype(np.intp)
    return first, np.minimum(first + 1, source - 1), (place - first).astype(np.float32)


def _between(plane: Floats, lines: tuple[Any, Any, Any]) -> Floats:
    """A plane (G, K) at the lines of a target, (T, K)."""
    first, second, share = lines
    mixed: Floats = plane[first] * (1 - share[:, None]) + plane[second] * share[:, None]
    return mixed
