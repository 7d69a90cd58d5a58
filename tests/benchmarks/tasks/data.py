"""The data of each task, as a user would name them: ``../shared/data``, cut to what two cores can do."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tests.question_pictures import draw_questions

TEXTS = {"train": 4000, "dev": 872, "test": 872}
"""Sentences taken of each file."""
PICTURES = 1200
"""Pictures drawn, with five questions on each."""


@dataclass(frozen=True)
class Spec:
    """How a task's data come to be under a folder (None where they are not there), and its options."""

    data: Callable[[Path, Path], str | None]
    options: tuple[str, ...] = ()


def _as_is(name: str) -> Callable[[Path, Path], str | None]:
    def found(shared: Path, out: Path) -> str | None:
        return str(shared / name) if (shared / name).exists() else None

    return found


def _pedestrians(shared: Path, out: Path) -> str | None:
    """Penn-Fudan, whose masks number the people: one class of them."""
    source, made = shared / "pennfudan", out / "pedestrians"
    if not source.exists():
        return None
    made.mkdir(parents=True, exist_ok=True)
    for name in ("images", "masks"):
        if not (made / name).exists():
            (made / name).symlink_to((source / name).resolve())
    (made / "classes.json").write_text(json.dumps({"background": 0, "person": "*"}))
    return str(made)


def _people(shared: Path, out: Path) -> str | None:
    """Penn-Fudan with a box around each person's part of the mask, as COCO keeps them."""
    source, made = shared / "pennfudan", out / "people"
    if not source.exists():
        return None
    made.mkdir(parents=True, exist_ok=True)
    if not (made / "images").exists():
        (made / "images").symlink_to((source / "images").resolve())
    pictures, boxes = [], []
    for number, path in enumerate(sorted((source / "images").iterdir())):
        mask = np.asarray(Image.open(source / "masks" / f"{path.stem}.png"))
        pictures.append({"id": number, "file_name": path.name, "width": mask.shape[1], "height": mask.shape[0]})
        for person in np.unique(mask)[1:]:
            rows, columns = np.nonzero(mask == person)
            left, top = int(columns.min()), int(rows.min())
            sides = [left, top, int(columns.max()) + 1 - left, int(rows.max()) + 1 - top]
            boxes.append({"id": len(boxes), "image_id": number, "category_id": 1, "bbox": sides})
    held = {"images": pictures, "annotations": boxes, "categories": [{"id": 1, "name": "person"}]}
    (made / "boxes.json").write_text(json.dumps(held))
    return str(made)


def _sentences(shared: Path, out: Path) -> str | None:
    """The first sentences of each file of SST-2."""
    source, made = shared / "sst2", out / "sentences"
    if not source.exists():
        return None
    made.mkdir(parents=True, exist_ok=True)
    for name, count in TEXTS.items():
        with (source / f"{name}.tsv").open(encoding="utf-8") as lines:
            kept = [line for line, _ in zip(lines, range(count), strict=False)]
        (made / f"{name}.tsv").write_text("".join(kept), encoding="utf-8")
    return str(made)


def _shapes(shared: Path, out: Path) -> str | None:
    """Coloured shapes with questions on them, drawn anew."""
    made = out / "shapes"
    if not (made / "questions.csv").exists():
        draw_questions(made, PICTURES)
    return str(made)


_FAST = ("--max-latency", "teacher/5")
TASKS: Mapping[str, Spec] = {
    "image classification": Spec(_as_is("photos10"), ("--image-size", "32", *_FAST)),
    "segmentation": Spec(_pedestrians, ("--image-size", "96", *_FAST)),
    "object detection": Spec(_people, ("--image-size", "96", *_FAST)),
    "text classification": Spec(_sentences, _FAST),
    "keyword spotting": Spec(_as_is("spoken-digits"), _FAST),
    "language model": Spec(_as_is("tinyshakespeare.txt"), ("--quantise", "int8-weights", *_FAST)),
    "visual question answering": Spec(_shapes, _FAST),
    "graph nodes": Spec(_as_is("cora/cora.npz")),
}
"""Students are to be five times as fast as their teachers, but for those of a graph's nodes: what teaches them
reads a whole graph, and is nothing to compile."""
