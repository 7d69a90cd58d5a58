"""The candidates that a strategy looks at: their codes drawn, and their costs known or learnt."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from results.candidate import Candidate
from search.samplers.costs import CostModel, KnownCosts
from search.samplers.described import Described
from search.samplers.encoding import Array, Encoding
from spaces.choice import Value

Codes = NDArray[np.int64]
_WHOLE = 20_000
_DRAWN = 2_000
"""A space of more than ``_WHOLE`` choices is looked at by so many drawn at random, as many between these and its
smallest network, and as many near the front."""
_CHANGES = 3


class Candidates:
    """The choices of a space with what they cost, by the names of the record."""

    def __init__(
        self,
        domain: Mapping[str, tuple[Value, ...]],
        names: Iterable[str],
        known: KnownCosts | None,
        smallest: Mapping[str, Value] | None = None,
    ) -> None:
        self.encoding = Encoding(domain)
        self._smallest = self.encoding.codes([] if smallest is None else [smallest])
        self._models = {name: CostModel(name, self.encoding, known, smallest) for name in names}

    def described(self, choices: Sequence[Mapping[str, Value]], record: Sequence[Candidate]) -> Described:
        """Choices, their costs learnt from the record where they are not known."""
        codes = self.encoding.codes(choices)
        return self._completed(codes, self.encoding.rows(codes), self._known(codes), record)

    def measured(self, candidates: Sequence[Candidate], record: Sequence[Candidate]) -> Described:
        """Candidates of the record, their costs as they were measured."""
        codes = self.encoding.codes([each.choice for each in candidates])
        figures = {name: model.measured(candidates) for name, model in self._models.items()}
        return self._completed(codes, self.encoding.rows(codes), figures, record)

    def pool(self, near: Codes, record: Sequence[Candidate], random: np.random.Generator) -> Described:
        """All choices of a small space; of a large one some at random, some more or less like its smallest
        network, and some a few changes from ``near``. Without those whose cells carry nothing."""
        if math.prod(self.encoding.sizes) <= _WHOLE:
            return self._completed(*self._whole, record) if self._fixed is None else self._fixed
        codes = np.concatenate([self._drawn(random), self._small(random), self._changed(near, random)])
        codes = self.encoding.carrying(np.unique(codes, axis=0))
        return self._completed(codes, self.encoding.rows(codes), self._known(codes), record)

    @cached_property
    def _whole(self) -> tuple[Codes, Array, Mapping[str, Array]]:
        every = np.array(list(itertools.product(*map(range, self.encoding.sizes))), np.int64)
        codes = self.encoding.carrying(every)
        return codes, self.encoding.rows(codes), self._known(codes)

    @cached_property
    def _fixed(self) -> Described | None:
        """The same every time: all choices of a small space, if all their costs are known."""
        known = self._whole[2].values()
        return None if any(np.isnan(each).any() for each in known) else self._completed(*self._whole, [])

    def _known(self, codes: Codes) -> Mapping[str, Array]:
        choices = self.encoding.choices(codes)
        return {name: model.known(choices) for name, model in self._models.items()}

    def _completed(
        self, codes: Codes, rows: Array, known: Mapping[str, Array], record: Sequence[Candidate]
    ) -> Described:
        costs = {name: model.completed(known[name], rows, record) for name, model in self._models.items()}
        return Described(codes, rows, costs)

    def _drawn(self, random: np.random.Generator) -> Codes:
        return np.stack([random.integers(size, size=_DRAWN) for size in self.encoding.sizes], axis=1)

    def _small(self, random: np.random.Generator) -> Codes:
        """Any share of the smallest network's choices drawn anew: of those drawn evenly, few cost little."""
        if not len(self._smallest):
            return self._smallest
        anew = random.random((_DRAWN, len(self.encoding.sizes))) < random.random((_DRAWN, 1))
        return np.where(anew, self._drawn(random), self._smallest)

    def _changed(self, near: Codes, random: np.random.Generator) -> Codes:
        """Up to ``_CHANGES`` choices of each drawn anew."""
        if not len(near):
            return near
        changed = near[random.integers(len(near), size=_DRAWN)]
        for _ in range(_CHANGES):
            places = random.integers(len(self.encoding.sizes), size=_DRAWN)
            values = random.integers(np.array(self.encoding.sizes)[places])
            moved = random.random(_DRAWN) < 0.5
            changed[np.flatnonzero(moved), places[moved]] = values[moved]
        return changed
