"""Candidates as the surrogates see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from search.samplers.costs import Costs
from search.samplers.encoding import Array


@dataclass(frozen=True)
class Described:
    """Of n candidates: ``codes`` and ``rows`` of their encoding, and their costs by name of the record."""

    codes: NDArray[np.int64]
    rows: Array
    costs: Mapping[str, Costs]
    _featured: dict[tuple[Sequence[str], float], Array] = field(default_factory=dict, init=False, repr=False)

    def values(self, names: Sequence[str]) -> Array:
        """The costs of these names, (n, names)."""
        return np.array([self.costs[name].value for name in names], float).reshape(len(names), len(self)).T

    def features(self, names: tuple[str, ...], task: float) -> Array:
        """The encoding, the logarithms of costs of these names, and which run saw it; kept: (n, columns)."""
        if (names, task) not in self._featured:
            columns = [self.rows, np.log(self.values(names)), np.full((len(self), 1), task)]
            self._featured[names, task] = np.concatenate(columns, axis=1)
        return self._featured[names, task]

    @cached_property
    def places(self) -> Mapping[bytes, int]:
        """The place of each by the bytes of its codes."""
        return {row.tobytes(): at for at, row in enumerate(self.codes)}

    def at(self, chosen: NDArray[np.intp]) -> Described:
        """Those at some places."""
        return Described(
            self.codes[chosen], self.rows[chosen], {name: each.at(chosen) for name, each in self.costs.items()}
        )

    def joined(self, other: Described) -> Described:
        """These and then the others."""
        costs = {name: each.joined(other.costs[name]) for name, each in self.costs.items()}
        return Described(np.concatenate([self.codes, other.codes]), np.concatenate([self.rows, other.rows]), costs)

    def __len__(self) -> int:
        return len(self.codes)
