"""Small pictures with masks, drawn: bright discs and boxes on noise."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = {"ground": 0, "disc": 10, "box": [20, 21]}


def draw(folder: Path, count: int, size: tuple[int, int] = (32, 40), seed: int = 0) -> Path:
    """``count`` pictures in ``images``, their masks in ``masks``, and what the masks' values are."""
    random = np.random.default_rng(seed)
    rows, columns = np.indices(size)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for number in range(count):
        mask = np.zeros(size, np.uint8)
        top, left = random.integers(6, size[0] - 6), random.integers(6, size[1] - 6)
        mask[(rows - top) ** 2 + (columns - left) ** 2 < 30] = 10
        top, left = random.integers(0, size[0] - 10), random.integers(0, size[1] - 10)
        mask[top : top + 9, left : left + 9] = 20 + number % 2
        grey = 60 + 60 * (mask == 10) + 140 * (mask >= 20) + random.normal(0, 10, size)
        picture = np.repeat(grey.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
        Image.fromarray(picture).save(folder / "images" / f"{number}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{number}.png")
    (folder / "classes.json").write_text(json.dumps(CLASSES))
    return folder
