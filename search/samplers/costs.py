"""What candidates cost: known where it is, else learnt from the record, which has the costs of all it holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from results.candidate import Candidate
from search.samplers.encoding import Array, Encoding
from search.samplers.process import condition, hyperparameters
from search.samplers.schedule import Remembered
from spaces.choice import Value

KnownCosts = Callable[[str, Sequence[Mapping[str, Value]]], Array | None]
"""Figures of a name of the record for choices: NaN where unknown, infinite where a network cannot be had."""
_FEWEST, _MOST = 4, 250
"""Costs are learnt from so many candidates of the record: what more would tell of costs is not worth its time."""
_UNKNOWN = 1.0
"""The deviation of the logarithm of a cost of which next to nothing is known."""


@dataclass(frozen=True)
class Costs:
    """Costs of one name, (n,), and the standard deviations of their logarithms, 0 where they are known."""

    value: Array
    deviation: Array

    def at(self, chosen: NDArray[np.intp]) -> Costs:
        """Those at some places."""
        return Costs(self.value[chosen], self.deviation[chosen])

    def joined(self, other: Costs) -> Costs:
        """These and then the others."""
        return Costs(
            *(np.concatenate(pair) for pair in ((self.value, other.value), (self.deviation, other.deviation)))
        )

    def within(self, limit: float) -> Array:
        """The probability of each to be within a limit, (n,)."""
        over = np.log(self.value / limit)
        return np.where(self.deviation > 0, ndtr(-over / np.maximum(self.deviation, 1e-9)), over <= 0)


class CostModel:
    """The costs of one name of the record."""

    def __init__(self, name: str, encoding: Encoding, known: KnownCosts | None) -> None:
        self._name, self._encoding, self._known = name, encoding, known
        self._remembered = Remembered()

    def known(self, choices: Sequence[Mapping[str, Value]]) -> Array:
        """What is known of choices beforehand, NaN for the others."""
        found = None if self._known is None else self._known(self._name, choices)
        return np.full(len(choices), np.nan) if found is None else found

    def measured(self, candidates: Sequence[Candidate]) -> Array:
        """The figures of candidates of the record, NaN where there is none."""
        figures = [each.measurements.get(self._name) for each in candidates]
        return np.array([np.nan if figure is None else figure.value for figure in figures], float)

    def completed(self, known: Array, rows: Array, candidates: Sequence[Candidate]) -> Costs:
        """The costs of rows: those that are not known are predicted from the candidates that have them.

        By a Gaussian process, of the logarithm, since costs multiply.
        """
        unknown = np.isnan(known)
        value, deviation = known.copy(), np.zeros(len(known))
        if not unknown.any():
            return Costs(value, deviation)
        figures = self.measured(candidates)
        seen = np.flatnonzero(figures > 0)[:_MOST]
        logarithms = np.log(figures[seen])
        if len(seen) < _FEWEST:
            value[unknown], deviation[unknown] = np.exp(logarithms.mean()) if len(seen) else 1.0, _UNKNOWN
            return Costs(value, deviation)
        examples = self._encoding.rows(self._encoding.codes([candidates[at].choice for at in seen.tolist()]))
        groups = self._encoding.groups
        learnt = self._remembered.get(
            len(seen), lambda count: hyperparameters(examples[:count], groups, _standard(logarithms[:count])[0])
        )
        targets, centre, spread = _standard(logarithms)
        process = condition(learnt, examples, groups, targets)
        value[unknown] = np.exp(process.mean(rows[unknown]) * spread + centre)
        deviation[unknown] = process.deviation(rows[unknown]) * spread
        return Costs(value, deviation)


def _standard(logarithms: Array) -> tuple[Array, float, float]:
    """In units of their spread around their mean; that mean, and the spread."""
    centre, spread = float(logarithms.mean()), float(logarithms.std()) + 1e-3
    return (logarithms - centre) / spread, centre, spread
