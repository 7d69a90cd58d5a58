"""Pictures with masks, as people keep them: two folders side by side, for each split or for all.

::

    data/images/*.jpg          data/masks/*.png                (or JPEGImages and SegmentationClass, as Pascal VOC)
    data/train/images/*.jpg    data/train/masks/*.png          and the same of val, test
    data/images/train/*.jpg    data/masks/train/*.png          and the same of val, test
    data/classes.json          optional: {"road": 0, "person": [1, 2], "other": "*", "void": 255}, or ["road", ...]
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators.tasks.folder import SPLIT_NAMES, SUFFIXES
from results.bundle.masks import VOID
from understudy import DataError

_PICTURES = ("images", "imgs", "jpegimages", "pictures")
_MASKS = ("masks", "segmentationclass", "pedmasks", "annotations")
_ENDINGS = ("", "_mask", "-mask", "_label", "_gt")
_CLASSES = "classes.json"
_REST, _VOID_NAME = "*", "void"


@dataclass(frozen=True)
class Masked:
    """Pictures with their masks: ``numbers`` maps a mask's values to classes (``VOID``: not judged), ``rest`` is
    that of all other values, None where there may be none; ``given`` is the split of each where the folder is
    divided.
    """

    pictures: tuple[Path, ...]
    masks: tuple[Path, ...]
    labels: tuple[str, ...]
    numbers: Mapping[int, int]
    rest: int | None
    given: NDArray[np.str_] | None

    def read(self, index: int) -> NDArray[np.uint8]:
        """The mask of a picture in classes, uint8 (H, W).

        Raises ``DataError`` for a file that is no mask and for values that are of no class.
        """
        values = read_values(self.masks[index])
        found = np.unique(values)
        strange = [int(value) for value in found if int(value) not in self.numbers]
        if strange and self.rest is None:
            raise DataError(
                f"the mask {self.masks[index]} has the value {strange[0]}, which is of no class: name it in "
                f"{_CLASSES} beside the folders, or repair the mask"
            )
        table = {int(value): self.numbers.get(int(value), self.rest or 0) for value in found}
        return np.array(list(table.values()), np.uint8)[np.searchsorted(found, values)]


def is_masked(folder: Path) -> bool:
    """Whether a folder holds pictures with masks."""
    return any(_files(of_masks) for _, _, of_masks in _pairs(folder))


def masked_folder(folder: Path) -> Masked:
    """The pictures and masks of a folder.

    Without a ``classes.json`` each value of a mask is a class, but 255, which is void. Raises ``DataError`` for a
    picture without a mask, for masks that cannot be read, and for a ``classes.json`` that does not fit.
    """
    pictures, masks, splits = [], [], []
    for split, of_pictures, of_masks in _pairs(folder):
        beside = _by_stem(of_masks)
        for picture in _files(of_pictures):
            pictures.append(picture)
            masks.append(_mask_of(picture, beside, of_masks))
            splits.append(split)
    if not pictures:
        raise DataError(f"no images in {folder}: put them into its folder images, and their masks into masks")
    given = np.array(splits) if any(splits) else None
    if given is not None and "train" not in splits:
        raise DataError(f"{folder} has no training split: name one of its folders train")
    return Masked(tuple(pictures), tuple(masks), *_classes(folder, masks), given)


def read_values(path: Path) -> NDArray[np.integer]:
    """The values of a mask, (H, W); those of a palette are its numbers. Raises ``DataError`` when it is none."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            values = np.asarray(image)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(
            f"the mask {path} cannot be read ({error}): repair it, or remove it and its image"
        ) from error
    if values.ndim == 3 and (values[..., :1] == values[..., :3]).all():
        values = values[..., 0]
    if values.ndim != 2 or values.dtype.kind not in "uib":
        raise DataError(
            f"the mask {path} is in colours: save masks as grey or palette images whose values number the classes"
        )
    return values.astype(np.int64)


def _pairs(folder: Path) -> Iterator[tuple[str, Path, Path]]:
    """Split ("" for none), folder of pictures, folder of masks."""
    for split, root in [("", folder), *_splits(folder)]:
        pictures, masks = (_named(root, names) for names in (_PICTURES, _MASKS))
        if pictures is None or masks is None:
            continue
        inner = dict(_splits(pictures))
        if split or not inner:
            yield split, pictures, masks
        for name, of_pictures in inner.items():
            if (of_masks := dict(_splits(masks)).get(name)) is not None:
                yield name, of_pictures, of_masks


def _splits(folder: Path) -> list[tuple[str, Path]]:
    named = ((SPLIT_NAMES.get(path.name.lower(), ""), path) for path in _folders(folder))
    return [(split, path) for split, path in named if split]


def _named(folder: Path, names: tuple[str, ...]) -> Path | None:
    found = {path.name.lower(): path for path in _folders(folder)}
    return next((found[name] for name in names if name in found), None)


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir())


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))


def _by_stem(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in _files(folder)}


def _mask_of(picture: Path, masks: Mapping[str, Path], folder: Path) -> Path:
    for ending in _ENDINGS:
        if (found := masks.get(picture.stem + ending)) is not None:
            return found
    raise DataError(f"{picture} has no mask {picture.stem}.png in {folder}: add it, or remove the image")


def _classes(folder: Path, masks: list[Path]) -> tuple[tuple[str, ...], dict[int, int], int | None]:
    """Labels, their values, and the class of all other values."""
    file = folder / _CLASSES
    if not file.is_file():
        values = sorted({int(value) for mask in masks for value in np.unique(read_values(mask))} - {VOID})
        if len(values) > VOID:
            raise DataError(f"the masks of {folder} have {len(values)} values: name classes of them in {file}")
        labels = tuple("background" if value == 0 else f"class {value}" for value in values)
        return labels, {VOID: VOID} | {value: number for number, value in enumerate(values)}, None
    try:
        written = json.loads(file.read_text(encoding="utf-8"))
        named: dict[str, Any] = (
            dict(written)
            if isinstance(written, dict)
            else {str(name): number for number, name in enumerate(written)}
        )
        labels = tuple(name for name in named if name != _VOID_NAME)
        numbers, rest = {VOID: VOID}, None
        for name, values in named.items():
            number = VOID if name == _VOID_NAME else labels.index(name)
            if values == _REST:
                rest = number
                continue
            numbers |= dict.fromkeys(map(int, values if isinstance(values, list) else [values]), number)
    except (OSError, ValueError, TypeError) as error:
        raise DataError(
            f'{file} cannot be read ({error}): write {{"road": 0, "person": [1, 2], "other": "*"}}, or a list'
        ) from error
    if not 2 <= len(labels) < VOID:
        raise DataError(f"{file} names {len(labels)} classes: it needs 2 to {VOID - 1}, background among them")
    return labels, numbers, rest
