"""Vectors and graphs in tables: a file of comma-separated values, or a folder of ``nodes.csv`` and ``edges.csv``.

The first line names the columns. ``label`` is a class by its name (nothing where it is not known), ``split`` is
train, val, test or nothing, ``id`` is what edges call a node (by default its number, from 0); all other columns
are features. An edge is ``source,target``.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evaluators.graphs.prepare import Graph
from evaluators.tasks.task import SPLITS, UNLABELLED
from evaluators.tasks.vectors import Vectors
from understudy import DataError, unknown_name

NODES, EDGES = "nodes.csv", "edges.csv"
_LABEL, _SPLIT, _ID = "label", "split", "id"
_ENDS = ("source", "target")


def is_graph_folder(folder: Path) -> bool:
    """Whether a folder holds the nodes and edges of a graph."""
    return (folder / NODES).is_file() and (folder / EDGES).is_file()


def read_vectors(path: Path) -> Vectors:
    """The vectors of a table; raises ``DataError`` naming the line that cannot be used."""
    return _vectors(path, *_table(path), "row")


def read_graph(folder: Path) -> Graph:
    """The graph of a folder; raises ``DataError`` naming the line that cannot be used."""
    names, rows = _table(folder / NODES)
    nodes = _vectors(folder / NODES, names, rows, "node")
    ids = [row[names.index(_ID)] for row in rows] if _ID in names else [str(index) for index in range(len(rows))]
    return Graph(nodes, _edges(folder / EDGES, ids))


def _table(path: Path) -> tuple[list[str], list[list[str]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            lines = [line for line in csv.reader(stream) if line]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as comma-separated values ({error})") from error
    if len(lines) < 2:
        raise DataError(f"{path} holds no rows: its first line names the columns, each further one is a row")
    names = [name.strip() for name in lines[0]]
    for number, line in enumerate(lines[1:], 2):
        if len(line) != len(names):
            raise DataError(f"line {number} of {path} has {len(line)} values, but there are {len(names)} columns")
    return names, lines[1:]


def _vectors(path: Path, names: Sequence[str], rows: Sequence[Sequence[str]], noun: str) -> Vectors:
    if _LABEL not in names:
        raise DataError(f"{path} has no column {_LABEL!r}: {unknown_name('column', _LABEL, names)}")
    columns = [index for index, name in enumerate(names) if name not in (_LABEL, _SPLIT, _ID)]
    if not columns:
        raise DataError(f"{path} has no features: every column but {_LABEL}, {_SPLIT} and {_ID} is one")
    words = [row[names.index(_LABEL)].strip() for row in rows]
    labels = tuple(sorted({word for word in words if word}))
    numbers = {word: index for index, word in enumerate(labels)} | {"": UNLABELLED}
    targets = np.array([numbers[word] for word in words], np.int64)
    return Vectors(
        _features(path, names, rows, columns), targets, labels, str(path), _splits(path, names, rows), noun
    )


def _features(
    path: Path, names: Sequence[str], rows: Sequence[Sequence[str]], columns: Sequence[int]
) -> NDArray[np.float32]:
    features = np.zeros((len(rows), len(columns)), np.float32)
    for number, row in enumerate(rows):
        for place, column in enumerate(columns):
            try:
                features[number, place] = float(row[column])
            except ValueError as error:
                raise DataError(
                    f"line {number + 2} of {path} has {row[column]!r} as {names[column]!r}: features are numbers"
                ) from error
    return features


def _splits(path: Path, names: Sequence[str], rows: Sequence[Sequence[str]]) -> NDArray[np.str_] | None:
    if _SPLIT not in names:
        return None
    given = [row[names.index(_SPLIT)].strip() for row in rows]
    for number, split in enumerate(given, 2):
        if split not in (*SPLITS, ""):
            raise DataError(f"line {number} of {path}: {unknown_name('split', split, SPLITS)}")
    return np.array(given, "<U5")


def _edges(path: Path, ids: Sequence[str]) -> NDArray[np.int64]:
    """The edges as numbers of nodes, (2, E)."""
    numbers = {name.strip(): index for index, name in enumerate(ids)}
    if len(numbers) < len(ids):
        raise DataError(f"{path.with_name(NODES)} gives the same {_ID} to several nodes: each needs its own")
    names, rows = _table(path)
    for wanted in _ENDS:
        if wanted not in names:
            raise DataError(f"{path} has no column {wanted!r}: {unknown_name('column', wanted, names)}")
    columns = [names.index(wanted) for wanted in _ENDS]
    edges = np.zeros((2, len(rows)), np.int64)
    for place, row in enumerate(rows):
        for end, name in enumerate(row[column] for column in columns):
            if name.strip() not in numbers:
                raise DataError(f"line {place + 2} of {path} names node {name!r}, which {NODES} does not hold")
            edges[end, place] = numbers[name.strip()]
    return edges
