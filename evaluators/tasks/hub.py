"""Hugging Face data sets: a saved folder, a folder of parquet files, or an id on the hub."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators.tasks.augment import POLICIES
from evaluators.tasks.folder import SPLIT_NAMES
from evaluators.tasks.images import EncodedImages
from evaluators.tasks.prepare import OnBad, Samples
from evaluators.tasks.text_tables import TEXT_COLUMNS
from evaluators.tasks.texts import Row, Texts, gather
from understudy import DataError

_IMAGE_COLUMNS = ("image", "img", "picture", "photo")
_LABEL_COLUMNS = ("label", "labels", "fine_label", "class", "target")


@dataclass(frozen=True)
class _Table:
    """One split: an Arrow table, and the class names of its label column where the data name them."""

    rows: Any
    names: tuple[str, ...] | None


def is_dataset_folder(folder: Path) -> bool:
    """Whether a folder holds a data set saved by ``datasets`` (Arrow) or parquet files."""
    return _is_saved(folder) or bool(_parquet_files(folder))


def hub_samples(spec: str, on_bad: OnBad = "refuse") -> Samples | Texts:
    """Samples of a local data set folder, or of a hub id (downloaded unless HF_HUB_OFFLINE is set).

    Data only: neither format runs code. Raises ``DataError`` when there is no such data set, it cannot be
    reached, or it has no column of encoded images or of texts and one of class labels (integers, for images);
    ``on_bad`` is about texts, as in ``gather``.
    """
    splits = _splits(spec, _open(spec))
    names = splits["train"].rows.column_names
    if not set(names) & set(_IMAGE_COLUMNS) and set(names) & set(TEXT_COLUMNS):
        return _texts(spec, splits, on_bad)
    image, label = (_column(spec, splits["train"], names) for names in (_IMAGE_COLUMNS, _LABEL_COLUMNS))
    targets = [_integers(spec, label, table) for table in splits.values()]
    values, numbers = np.unique(np.concatenate(targets), return_inverse=True)
    pictures = (picture for split, table in splits.items() for picture in _pictures(spec, split, table, image))
    return Samples(
        EncodedImages.gather(pictures),
        numbers.astype(np.int64).reshape(-1),
        _class_names(spec, splits["train"].names, values),
        np.repeat(list(splits), [len(labels) for labels in targets]) if len(splits) > 1 else None,
        POLICIES["standard"],
    )


def _texts(spec: str, splits: Mapping[str, _Table], on_bad: OnBad) -> Texts:
    """The texts of all splits but those whose labels are withheld (-1 throughout), as competitions do."""
    text, label = (_column(spec, splits["train"], names) for names in (TEXT_COLUMNS, _LABEL_COLUMNS))
    labels = {split: table.rows[label].to_pylist() for split, table in splits.items()}
    withheld = [split for split, values in labels.items() if split != "train" and set(values) <= {-1, None}]

    def rows() -> Iterator[Row]:
        for split, table in splits.items():
            if split in withheld:
                continue
            cells = zip(table.rows[text].to_pylist(), labels[split], strict=True)
            for number, (content, value) in enumerate(cells):
                where = f"row {number} of the {split} split of {spec}"
                yield Row(content or "", _label_name(table.names, value), split if len(splits) > 1 else "", where)

    found = gather(rows(), spec, on_bad)
    notes = tuple(f"the {split} split of {spec} has no labels and is left out" for split in withheld)
    return replace(found, notes=(*notes, *found.notes))


def _label_name(names: Sequence[str] | None, value: object) -> str:
    """The name of a class by what a cell holds; nothing where that is no class."""
    if value is None or value == -1:
        return ""
    if names is None or not isinstance(value, int):
        return str(value).strip()
    return str(names[value]) if 0 <= value < len(names) else ""


def _splits(spec: str, found: Mapping[str, _Table]) -> dict[str, _Table]:
    """The splits under our names; a single one of any name is what gets divided."""
    if len(found) == 1:
        return {"train": next(iter(found.values()))}
    known = {SPLIT_NAMES[name.lower()]: table for name, table in found.items() if name.lower() in SPLIT_NAMES}
    if "train" not in known:
        raise DataError(f"{spec} has the splits {', '.join(found)} but none named train: rename one")
    return known


def _is_saved(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("dataset_dict.json", "state.json"))


def _parquet_files(folder: Path) -> list[Path]:
    return sorted([*folder.glob("*.parquet"), *folder.glob("data/*.parquet")])


def _open(spec: str) -> dict[str, _Table]:
    path = Path(spec).expanduser()
    if path.is_dir() and not _is_saved(path):
        return _open_parquet(path)
    if not path.exists() and (spec.startswith((".", "/", "~")) or spec.count("/") > 1):
        raise DataError(f"there is no folder or file {spec}: check the path")
    import datasets

    try:
        found = datasets.load_from_disk(str(path)) if path.is_dir() else datasets.load_dataset(spec)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise DataError(
            f"{spec!r} is neither a folder or file here nor a Hugging Face data set that can be had "
            f"({str(error).splitlines()[0]}): check the name, or download it first"
        ) from error
    splits = found if isinstance(found, datasets.DatasetDict) else {"train": found}
    return {name: _from_dataset(split) for name, split in splits.items()}


def _from_dataset(split: Any) -> _Table:
    named = [feature.names for feature in map(split.features.get, _LABEL_COLUMNS) if hasattr(feature, "names")]
    return _Table(split.with_format("arrow")[:], tuple(named[0]) if named else None)


def _open_parquet(folder: Path) -> dict[str, _Table]:
    """Parquet files by the split that their names begin with (``train-00000-of-00002.parquet``)."""
    import pyarrow  # type: ignore[import-untyped]
    from pyarrow import parquet

    groups: dict[str, list[Path]] = {}
    for path in _parquet_files(folder):
        groups.setdefault(path.stem.split("-")[0], []).append(path)
    try:
        tables = {name: pyarrow.concat_tables(map(parquet.read_table, paths)) for name, paths in groups.items()}
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"a parquet file in {folder} cannot be read ({error}): download it again") from error
    return {name: _Table(rows, _written_names(folder, rows)) for name, rows in tables.items()}


def _written_names(folder: Path, rows: Any) -> tuple[str, ...] | None:
    """Class names from ``classes.json`` beside the files, or from what ``datasets`` writes into them."""
    beside = folder / "classes.json"
    try:
        if beside.is_file():
            return tuple(str(name) for name in json.loads(beside.read_text()))
        written = json.loads((rows.schema.metadata or {}).get(b"huggingface", b"{}"))
    except json.JSONDecodeError as error:
        raise DataError(f"the class names in {folder} cannot be read ({error}): write a JSON list") from error
    features = written.get("info", {}).get("features", {})
    named = [features[name]["names"] for name in _LABEL_COLUMNS if "names" in features.get(name, {})]
    return tuple(named[0]) if named else None


def _column(spec: str, table: _Table, names: Sequence[str]) -> str:
    found = [name for name in names if name in table.rows.column_names]
    if not found:
        raise DataError(
            f"{spec} has no column {names[0]!r} (or {', '.join(names[1:])}): it has "
            f"{', '.join(table.rows.column_names)}; rename one"
        )
    return found[0]


def _integers(spec: str, column: str, table: _Table) -> NDArray[np.int64]:
    labels = table.rows[column].to_numpy()
    if not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"column {column!r} of {spec} is {labels.dtype}: class labels are integers, none missing")
    integers: NDArray[np.int64] = labels.astype(np.int64)
    return integers


def _pictures(spec: str, split: str, table: _Table, column: str) -> Iterator[bytes]:
    """Encoded pictures: bytes as they are, or the ``bytes`` or ``path`` of what ``datasets`` stores."""
    row = 0
    for chunk in table.rows[column].chunks:
        for cell in chunk.to_pylist():
            content = cell.get("bytes") if isinstance(cell, dict) else cell
            if content is None and isinstance(cell, dict) and cell.get("path"):
                content = Path(cell["path"]).read_bytes()
            if not isinstance(content, bytes):
                raise DataError(
                    f"row {row} of the {split} split of {spec} has no encoded image in {column!r}: remove it"
                )
            yield content
            row += 1


def _class_names(spec: str, names: Sequence[str] | None, values: NDArray[np.int64]) -> tuple[str, ...]:
    if names is None:
        return tuple(str(value) for value in values)
    if values.min() < 0 or values.max() >= len(names):
        raise DataError(f"{spec} names {len(names)} classes, but its labels span {values.min()}..{values.max()}")
    return tuple(str(names[value]) for value in values)
