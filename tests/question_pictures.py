"""Small pictures of coloured shapes with questions on their colours, numbers and places, drawn from a seed."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

COLOURS = {"red": (220, 50, 40), "green": (50, 170, 70), "blue": (50, 90, 220), "yellow": (235, 200, 50)}
SHAPES = ("circle", "square", "triangle")
_CELLS, _MOST = 2, 3
_SPLITS = {"train": 0.70, "val": 0.15, "test": 0.15}


@dataclass(frozen=True)
class Shape:
    """What it is, and where: its cell's row and column of 2 x 2."""

    kind: str
    colour: str
    row: int
    column: int


def draw_questions(folder: Path, pictures: int, side: int = 32, each: int = 5, seed: int = 0) -> Path:
    """``pictures`` PNG files in ``images`` and ``questions.csv`` with ``each`` questions a picture; the folder.

    Seven tenths of the pictures are for training, and of the rest half to validate and half to test.
    """
    random = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    splits = np.repeat(list(_SPLITS), [round(share * pictures) for share in _SPLITS.values()])
    with (folder / "questions.csv").open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(("image", "question", "answer", "split"))
        for number in range(pictures):
            shapes = _drawn(random)
            name = f"images/{number:04d}.png"
            _picture(shapes, side, random).save(folder / name)
            split = splits[number] if number < len(splits) else "train"
            asked = _asked(shapes, random)
            for index in random.permutation(len(asked))[:each]:
                table.writerow((name, *asked[index], split))
    return folder


def _drawn(random: np.random.Generator) -> list[Shape]:
    cells = random.permutation(_CELLS**2)[: random.integers(1, _MOST + 1)]
    return [
        Shape(str(random.choice(SHAPES)), str(random.choice(list(COLOURS))), *divmod(int(cell), _CELLS))
        for cell in cells
    ]


def _picture(shapes: list[Shape], side: int, random: np.random.Generator) -> Image.Image:
    ground = 225 + random.normal(0, 8, (side, side, 1)) + random.normal(0, 5, 3)
    image = Image.fromarray(ground.clip(0, 255).astype(np.uint8))
    pen, cell = ImageDraw.Draw(image), side / _CELLS
    for shape in shapes:
        size = cell * random.uniform(0.55, 0.8)
        left, top = ((at + random.uniform(0.05, 0.15)) * cell for at in (shape.column, shape.row))
        box, fill = (left, top, left + size, top + size), COLOURS[shape.colour]
        if shape.kind == "circle":
            pen.ellipse(box, fill)
        elif shape.kind == "square":
            pen.rectangle(box, fill)
        else:
            pen.polygon([(left, top + size), (left + size, top + size), (left + size / 2, top)], fill)
    return image


def _asked(shapes: list[Shape], random: np.random.Generator) -> list[tuple[str, str]]:
    """All questions that a picture answers, with their answers."""
    kind, colour = str(random.choice(SHAPES)), str(random.choice(list(COLOURS)))
    there = any(shape.kind == kind and shape.colour == colour for shape in shapes)
    asked = [
        (f"How many {kind}s are there?", str(sum(shape.kind == kind for shape in shapes))),
        (f"How many {colour} shapes do you see?", str(sum(shape.colour == colour for shape in shapes))),
        (f"Is there a {colour} {kind}?", "yes" if there else "no"),
    ]
    for shape in shapes:
        if sum(other.kind == shape.kind for other in shapes) == 1:
            asked.append((f"What colour is the {shape.kind}?", shape.colour))
            asked.append((f"On which side is the {shape.kind}?", "left" if shape.column == 0 else "right"))
            asked.append((f"Is the {shape.kind} at the top?", "yes" if shape.row == 0 else "no"))
        if sum(other.colour == shape.colour for other in shapes) == 1:
            asked.append((f"What is the {shape.colour} shape?", shape.kind))
    return asked
