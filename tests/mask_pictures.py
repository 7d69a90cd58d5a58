"""Small pictures with masks or boxes, drawn: bright discs and boxes on noise."""

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


def draw_boxes(folder: Path, count: int, size: tuple[int, int] = (32, 40), seed: int = 0) -> Path:
    """``count`` pictures in ``images`` with a square or a disc each, and COCO's ``boxes.json``."""
    random = np.random.default_rng(seed)
    rows, columns = np.indices(size)
    (folder / "images").mkdir(parents=True)
    pictures, boxes = [], []
    for number in range(count):
        side, label = int(random.integers(10, 15)), number % 2
        top, left = (int(random.integers(0, extent - side)) for extent in size)
        grey = 40 + random.normal(0, 8, size)
        inside = (rows >= top) & (rows < top + side) & (columns >= left) & (columns < left + side)
        if label:
            inside &= (rows - top - side / 2 + 0.5) ** 2 + (columns - left - side / 2 + 0.5) ** 2 < (side / 2) ** 2
        grey[inside] += 150
        name = f"{number}.png"
        picture = np.repeat(grey.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
        Image.fromarray(picture).save(folder / "images" / name)
        pictures.append({"id": number, "file_name": name, "width": size[1], "height": size[0]})
        box = {"id": number, "image_id": number, "category_id": 7 + label, "bbox": [left, top, side, side]}
        boxes.append(box)
    categories = [{"id": 7, "name": "square"}, {"id": 8, "name": "disc"}]
    held = {"images": pictures, "annotations": boxes, "categories": categories}
    (folder / "boxes.json").write_text(json.dumps(held))
    return folder
