"""Vectors and graphs in files: ``.npz`` arrays, or tables of comma-separated values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators.graphs.prepare import Graph
from evaluators.tasks.task import SPLITS, UNLABELLED
from evaluators.tasks.vectors import Vectors
from understudy import DataError

Arrays = Mapping[str, NDArray[Any]]
_FEATURES, _EDGES, _LABELS = ("features", "feature"), ("edges", "edge", "edge_index"), ("labels", "label")
_SPARSE = ("feature_row", "feature_col", "feature_value", "shape")


def holds_vectors(names: Iterable[str]) -> bool:
    """Whether arrays of these names are vectors or a graph, and no pictures."""
    return not {*_FEATURES, *_EDGES, *_SPARSE[:3]}.isdisjoint(names)


def from_arrays(path: Path, arrays: Arrays) -> Vectors | Graph:
    """The vectors in arrays, or the graph where there are edges.

    ``features`` is (N, D), or sparse in ``feature_row``, ``feature_col``, ``feature_value`` and ``shape``;
    ``labels`` integers (N,), -1 for none; ``train``, ``val``, ``test`` numbers of rows, or truth values (N,);
    ``edges`` (2, E); ``class_names`` may name the classes. Raises ``DataError`` for what is missing or does not
    fit together.
    """
    edges = _first(arrays, _EDGES)
    vectors = _vectors(path, arrays, "row" if edges is None else "node")
    if edges is None:
        return vectors
    if edges.ndim != 2 or edges.shape[0] != 2 or not np.issubdtype(edges.dtype, np.integer):
        raise DataError(f"the edges of {path} are {edges.dtype} {edges.shape}: save integers (2, E), from and to")
    return Graph(vectors, edges.astype(np.int64))


def _vectors(path: Path, arrays: Arrays, noun: str) -> Vectors:
    features = _features(path, arrays)
    labels = _first(arrays, _LABELS)
    if labels is None:
        raise DataError(f"{path} has no labels: save integers (N,) as 'labels', -1 where there is none")
    if labels.shape != (len(features),) or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(
            f"the labels of {path} are {labels.dtype} {labels.shape}: they are integers, one for each of "
            f"{len(features)} {noun}s"
        )
    targets, names = numbered(labels.astype(np.int64), arrays.get("class_names"), path)
    return Vectors(features, targets, names, str(path), _splits(path, arrays, len(features)), noun)


def numbered(
    labels: NDArray[np.int64], names: NDArray[Any] | None, path: Path
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Labels as numbers from 0 without gaps, ``UNLABELLED`` below 0, and what their classes are called."""
    values, targets = np.unique(np.where(labels < 0, UNLABELLED, labels), return_inverse=True)
    if len(values) and values[0] == UNLABELLED:
        values, targets = values[1:], targets - 1
    if names is not None and len(values) and values[-1] >= len(names):
        raise DataError(f"'class_names' of {path} names {len(names)} classes, but labels reach {values[-1]}")
    called = values if names is None else names[values]
    return targets.astype(np.int64), tuple(str(name) for name in called)


def _features(path: Path, arrays: Arrays) -> NDArray[np.float32]:
    features = _first(arrays, _FEATURES)
    if features is None:
        missing = [name for name in _SPARSE if name not in arrays]
        if missing:
            raise DataError(
                f"{path} has no features: save (N, D) as 'features', or {', '.join(_SPARSE)} (it lacks "
                f"{', '.join(missing)})"
            )
        return _dense(path, *(arrays[name] for name in _SPARSE))
    if features.ndim != 2 or 0 in features.shape or features.dtype.kind not in "fiub":
        raise DataError(f"the features of {path} are {features.dtype} {features.shape}: they are numbers (N, D)")
    return features.astype(np.float32)


def _dense(path: Path, row: Any, column: Any, value: Any, shape: Any) -> NDArray[np.float32]:
    places = np.asarray(row), np.asarray(column)
    if np.shape(shape) != (2,) or any(not np.issubdtype(place.dtype, np.integer) for place in (*places, shape)):
        raise DataError(f"the sparse features of {path} need whole numbers as rows, columns and 'shape' (N, D)")
    if any(place.size and place.min() < 0 for place in (*places, shape)):
        raise DataError(f"the sparse features of {path} have rows, columns or a 'shape' below 0")
    dense = np.zeros(tuple(int(size) for size in shape), np.float32)
    try:
        np.add.at(dense, places, value)
    except (IndexError, ValueError) as error:
        raise DataError(f"the sparse features of {path} do not fit 'shape' {dense.shape} ({error})") from error
    return dense


def _splits(path: Path, arrays: Arrays, count: int) -> NDArray[np.str_] | None:
    """The split of each row, "" for none; None where the file gives none."""
    given = np.full(count, "", "<U5")
    for split in SPLITS:
        chosen = arrays.get(split, arrays.get(f"{split}_mask"))
        if chosen is None:
            continue
        rows = np.flatnonzero(chosen) if chosen.dtype == bool else chosen
        if rows.ndim != 1 or not np.issubdtype(rows.dtype, np.integer) or not ((rows >= 0) & (rows < count)).all():
            raise DataError(f"{split!r} of {path} must be rows, 0 to {count - 1}, or truth values ({count},)")
        twice = rows[given[rows] != ""]
        if len(twice):
            raise DataError(
                f"row {twice[0]} of {path} is in {split!r} and in {str(given[twice[0]])!r}: choose one"
            )
        given[rows] = split
    return given if (given != "").any() else None


def _first(arrays: Arrays, names: Iterable[str]) -> NDArray[Any] | None:
    return next((arrays[name] for name in names if name in arrays), None)
