"""Pictures with boxes, as people keep them: COCO's JSON, Pascal VOC's XML, YOLO's text files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import yaml
from numpy.typing import NDArray

from evaluators.tasks.folder import SPLIT_NAMES, SUFFIXES
from understudy import DataError

_SLACK = 0.02
"""How far a box may reach over its picture's edge, as a share of it, before it is refused."""
_IMAGES = ("images", "JPEGImages", "imgs", "")


@dataclass
class Boxed:
    """Pictures with boxes: of each ``boxes`` float64 (n, 5), the class, left, top, right, bottom in shares of the
    sides; ``problems`` by picture that has bad ones; ``splits`` of each ("" for none), where the data are divided.
    """

    labels: list[str]
    pictures: list[Path] = field(default_factory=list)
    boxes: list[NDArray[np.float64]] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    problems: dict[int, str] = field(default_factory=dict)

    def add(
        self, picture: Path, boxes: list[tuple[int, float, float, float, float]], split: str, where: str
    ) -> None:
        """One picture with its boxes; a box outside of it or without a size is a problem, told with ``where``."""
        found = np.array(boxes, np.float64).reshape(-1, 5)
        sides = found[:, 1:]
        outside = np.any((sides < -_SLACK) | (sides > 1 + _SLACK) | np.isnan(sides), axis=1)
        empty = np.any(sides[:, 2:] <= sides[:, :2], axis=1)
        bad = outside | empty
        if bad.any():
            number = int(bad.argmax())
            what = "reaches out of its picture" if outside[number] else "has no size"
            shown = ", ".join(f"{side:.3f}" for side in sides[number])
            self.problems[len(self.pictures)] = f"box {number + 1} of {where} {what} ({shown} of its sides)"
        found[:, 1:] = sides.clip(0, 1)
        self.pictures.append(picture)
        self.boxes.append(found)
        self.splits.append(split)


def boxed_folder(folder: Path) -> Boxed | None:
    """The pictures and boxes of a folder in whichever of the three forms it has; None where it has none of them.

    Raises ``DataError`` for files that cannot be read and pictures that are not there.
    """
    forms: tuple[Callable[[Path], Boxed | None], ...] = (_coco, _voc, _yolo)
    return next((found for form in forms if (found := form(folder)) is not None), None)


def _coco(folder: Path) -> Boxed | None:
    """Each ``.json`` with images, annotations and categories, here or in ``annotations``, is a split by name."""
    read = [
        (path, _json(path)) for place in (folder, folder / "annotations") for path in sorted(place.glob("*.json"))
    ]
    files = [(path, held) for path, held in read if {"images", "annotations", "categories"} <= set(held)]
    if not files:
        return None
    try:
        names = {int(each["id"]): str(each["name"]) for _, held in files for each in held["categories"]}
        order = {number: place for place, number in enumerate(sorted(names))}
        found = Boxed([names[number] for number in sorted(names)])
        for path, held in files:
            split = _split_of(path.stem) if len(files) > 1 else ""
            beside: dict[int, list[tuple[int, float, float, float, float]]] = {}
            sizes = {int(each["id"]): (float(each["width"]), float(each["height"])) for each in held["images"]}
            for each in held["annotations"]:
                if each.get("iscrowd"):
                    continue
                x, y, wide, high = map(float, each["bbox"])
                width, height = sizes[int(each["image_id"])]
                box = (
                    order[int(each["category_id"])],
                    x / width,
                    y / height,
                    (x + wide) / width,
                    (y + high) / height,
                )
                beside.setdefault(int(each["image_id"]), []).append(box)
            for each in held["images"]:
                picture = _picture(folder, str(each["file_name"]), path.stem.removeprefix("instances_"))
                found.add(picture, beside.get(int(each["id"]), []), split, f"{each['file_name']} in {path}")
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise DataError(f"{path} is not as COCO writes its boxes ({error!r}): write it again") from error
    return found


def _voc(folder: Path) -> Boxed | None:
    files = [
        (split, path) for split, root in _roots(folder) for path in sorted((root / "Annotations").glob("*.xml"))
    ]
    if not files:
        return None
    read = [(split, path, *_xml(path)) for split, path in files]
    labels = sorted({name for _, _, _, boxes in read for name, *_ in boxes})
    found = Boxed(labels)
    for split, path, name, boxes in read:
        numbered = [(labels.index(box[0]), *box[1:]) for box in boxes]
        found.add(_picture(path.parents[1], name, ""), numbered, split, str(path))
    return found


def _xml(path: Path) -> tuple[str, list[tuple[str, float, float, float, float]]]:
    """The picture's file name, and of each object its label and sides."""
    try:
        text = path.read_text(encoding="utf-8")
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise ValueError("it declares entities")
        root = ElementTree.fromstring(text)
        width, height = (float(_text(root, f"size/{side}")) for side in ("width", "height"))
        boxes = []
        for each in root.iter("object"):
            left, top, right, bottom = (
                float(_text(each, f"bndbox/{side}")) for side in ("xmin", "ymin", "xmax", "ymax")
            )
            boxes.append((_text(each, "name"), left / width, top / height, right / width, bottom / height))
        return _text(root, "filename"), boxes
    except (OSError, ValueError, ZeroDivisionError, ElementTree.ParseError) as error:
        raise DataError(f"{path} is not as Pascal VOC writes its boxes ({error}): write it again") from error


def _text(element: ElementTree.Element, path: str) -> str:
    found = element.findtext(path)
    if not found:
        raise ValueError(f"no {path}")
    return found


def _yolo(folder: Path) -> Boxed | None:
    roots = [(split, root) for split, root in _roots(folder) if (root / "labels").is_dir()]
    if not roots:
        return None
    labels = _yolo_names(folder)
    found = Boxed(labels)
    for split, root in roots:
        inner = [(name or split, root / "images" / place, root / "labels" / place) for name, place in _inner(root)]
        for name, pictures, texts in inner:
            for picture in sorted(path for path in pictures.glob("*") if path.suffix.lower() in SUFFIXES):
                file = texts / f"{picture.stem}.txt"
                found.add(picture, _lines(file, len(labels)) if file.is_file() else [], name, str(file))
    return found


def _lines(file: Path, classes: int) -> list[tuple[int, float, float, float, float]]:
    """Class, middle x and y, width and height in shares, a line each."""
    boxes = []
    for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        if not line.strip():
            continue
        try:
            label, x, y, wide, high = line.split()
            if not 0 <= int(label) < classes:
                raise ValueError(f"class {label} of {classes}")
            middle_x, middle_y, half_x, half_y = float(x), float(y), float(wide) / 2, float(high) / 2
        except ValueError as error:
            raise DataError(f"line {number} of {file} is not CLASS X Y WIDTH HEIGHT ({error}): mend it") from error
        boxes.append((int(label), middle_x - half_x, middle_y - half_y, middle_x + half_x, middle_y + half_y))
    return boxes


def _yolo_names(folder: Path) -> list[str]:
    listed = folder / "classes.txt"
    for path in (*sorted(folder.glob("*.yaml")), listed):
        try:
            if path == listed:
                return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
            names = (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("names")
        except (OSError, ValueError, yaml.YAMLError, AttributeError) as error:
            raise DataError(
                f"the names of the classes of {folder} cannot be read ({error}): write them into {listed}"
            ) from error
        if names:
            return [str(name) for name in (names.values() if isinstance(names, Mapping) else names)]
    raise AssertionError("not reached: reading a list that is not there raises")


def _roots(folder: Path) -> Iterator[tuple[str, Path]]:
    """The folder itself, and its folders of splits."""
    yield "", folder
    for path in sorted(path for path in folder.iterdir() if path.is_dir()):
        if split := SPLIT_NAMES.get(path.name.lower(), ""):
            yield split, path


def _inner(root: Path) -> list[tuple[str, str]]:
    """Split and name of the folders below ``labels``; the folder itself where they hold no splits."""
    named = [(_split_of(path.name), path.name) for path in sorted((root / "labels").iterdir()) if path.is_dir()]
    return [(split, name) for split, name in named if split] or [("", "")]


def _split_of(name: str) -> str:
    """The split in a name such as ``instances_train2017``."""
    words = "".join(letter if letter.isalpha() else " " for letter in name.lower()).split()
    return next((SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES), "")


def _picture(folder: Path, name: str, near: str) -> Path:
    """The picture of a name: beside the boxes, in a folder of pictures, or in one named like the split."""
    for place in (near, *_IMAGES, *(f"{each}/{near}" for each in _IMAGES if near)):
        if (path := folder / place / name).is_file():
            return path
    raise DataError(f"the picture {name} is not in {folder}: put it there, or into {folder / 'images'}")


def _json(path: Path) -> Mapping[str, Any]:
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return held if isinstance(held, dict) else {}
