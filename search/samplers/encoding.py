"""Choices of a space as rows of numbers, from which a surrogate learns."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from search.samplers.cells import cells_in
from spaces.choice import Value

Array = NDArray[np.float64]


class Encoding:
    """The columns of a choice, in groups that a surrogate weighs as one.

    A group a choice: numbers by their rank (0..1), all else one column a value, so that different values are 1
    apart. Where several choices have the same values, a group a value: how many of them have it, as a share.
    That many parts of a network are equal tells more of it than which ones, as long as little was seen. Where
    choices are the operations of a cell, edges that change nothing are as if they were absent, and each figure of
    its shape is a group (``cells.py``).
    """

    def __init__(self, domain: Mapping[str, tuple[Value, ...]]) -> None:
        self.domain = {name: values for name, values in domain.items() if len(values) > 1}
        families: dict[tuple[Value, ...], list[str]] = defaultdict(list)
        for name, values in self.domain.items():
            families[values].append(name)
        self._families = [names for names in families.values() if len(names) > 1]
        widths = [_columns(values).shape[1] for values in self.domain.values()]
        widths += [1 for names in self._families for _ in self.domain[names[0]]]
        self._cells = cells_in(self.domain)
        widths += [1 for cell in self._cells for _ in range(cell.width)]
        ends = list(itertools.accumulate(widths, initial=0))
        self.groups = tuple(itertools.starmap(slice, itertools.pairwise(ends)))
        self._coded: dict[tuple[Value, ...], list[int]] = {}

    def codes(self, choices: Sequence[Mapping[str, Value]]) -> NDArray[np.int64]:
        """The place of every choice's value among the values there are, (n, choices)."""
        rows = [self._code(tuple(choice[name] for name in self.domain)) for choice in choices]
        return np.array(rows, dtype=np.int64).reshape(len(choices), len(self.domain))

    def _code(self, values: tuple[Value, ...]) -> list[int]:
        """Kept, since a search asks for those of its whole record each time."""
        if values not in self._coded:
            pairs = zip(self.domain.values(), values, strict=True)
            self._coded[values] = [known.index(value) for known, value in pairs]
        return self._coded[values]

    def rows(self, codes: NDArray[np.int64]) -> Array:
        """Rows of numbers of ``codes``, (n, columns)."""
        position = {name: at for at, name in enumerate(self.domain)}
        for cell in self._cells:
            codes = cell.canonical(codes)
        parts = [_columns(values)[codes[:, at]] for at, values in enumerate(self.domain.values())]
        for names in self._families:
            family = codes[:, [position[name] for name in names]]
            parts += [
                (family == value).mean(1, keepdims=True) * math.sqrt(len(names))
                for value in range(len(self.domain[names[0]]))
            ]
        parts += [cell.shape(codes) for cell in self._cells]
        return np.concatenate(parts, axis=1)

    def carrying(self, codes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of ``codes`` whose every cell has a way from its input to its output."""
        carries = [cell.carries(codes) for cell in self._cells]
        return codes[np.all(carries, axis=0)] if carries else codes

    def choices(self, codes: NDArray[np.int64]) -> list[dict[str, Value]]:
        """The choices of ``codes``."""
        return [
            {name: values[at] for (name, values), at in zip(self.domain.items(), row, strict=True)}
            for row in codes
        ]

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many values each choice has."""
        return tuple(map(len, self.domain.values()))


def _columns(values: tuple[Value, ...]) -> Array:
    """A row for each value: rank among numbers, or a column of its own."""
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return (np.argsort(np.argsort(np.array(values, float))) / (len(values) - 1))[:, None]
    return np.eye(len(values)) / math.sqrt(2)
