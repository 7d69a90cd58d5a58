"""What candidates cost: known where it is, else learnt from the record, which has the costs of all it holds."""

from __future__ import annotations

import math
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
_GROWTH, _HELD = 2.0, 0.05
"""From the smallest network on, logarithms of costs are believed to grow by so much until all choices differ from
its; that belief counts as much as observations whose distances from it vary by so much in all."""


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

    def __init__(
        self, name: str, encoding: Encoding, known: KnownCosts | None, smallest: Mapping[str, Value] | None = None
    ) -> None:
        self._name, self._encoding, self._known, self._smallest = name, encoding, known, smallest
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

        By a Gaussian process, of the logarithm, since costs multiply; around a line of how far choices are from
        those of the smallest network, where that is known: so the few that a tight budget allows are told apart
        before one of them was seen.
        """
        unknown = np.isnan(known)
        value, deviation = known.copy(), np.zeros(len(known))
        if not unknown.any():
            return Costs(value, deviation)
        figures = self.measured(candidates)
        seen = np.flatnonzero(figures > 0)[:_MOST]
        examples = self._encoding.rows(self._encoding.codes([candidates[at].choice for at in seen.tolist()]))
        logarithms, away = np.log(figures[seen]), self._away(examples)
        line, open_rows = _line(away, logarithms), rows[unknown]
        value[unknown] = np.exp(line.at(self._away(open_rows)))
        if len(seen) < _FEWEST:
            deviation[unknown] = _UNKNOWN / math.sqrt(max(1, len(seen)))
            return Costs(value, deviation)
        groups = self._encoding.groups
        learnt = self._remembered.get(
            len(seen),
            lambda count: hyperparameters(
                examples[:count],
                groups,
                _line(away[:count], logarithms[:count]).standardised(away[:count], logarithms[:count]),
            ),
        )
        process = condition(learnt, examples, groups, line.standardised(away, logarithms))
        value[unknown] *= np.exp(process.mean(open_rows) * line.spread)
        deviation[unknown] = process.deviation(open_rows) * line.spread
        return Costs(value, deviation)

    def _away(self, rows: Array) -> Array:
        """How much rows (n, columns) differ from the smallest network's, the mean of choices, 0..1, (n,)."""
        if self._smallest is None:
            return np.zeros(len(rows))
        least = self._encoding.rows(self._encoding.codes([self._smallest]))
        of_choices = self._encoding.groups[: len(self._encoding.domain)]
        distances = [np.linalg.norm(rows[:, group] - least[:, group], axis=1) for group in of_choices]
        return np.asarray(np.mean(distances, axis=0))


@dataclass(frozen=True)
class _Line:
    """Logarithms of costs by how far choices are from the smallest network's, and their spread around it."""

    level: float
    slope: float
    spread: float

    def at(self, away: Array) -> Array:
        return self.level + self.slope * away

    def standardised(self, away: Array, logarithms: Array) -> Array:
        """Their distances from the line in units of their spread."""
        return np.asarray((logarithms - self.at(away)) / self.spread)


def _line(away: Array, logarithms: Array) -> _Line:
    """The line through (n,) observations; it does not fall."""
    if not len(away):
        return _Line(0.0, 0.0, _UNKNOWN)
    apart = away - away.mean()
    slope = max(0.0, float((apart @ logarithms + _HELD * _GROWTH) / (apart @ apart + _HELD)))
    level = float(logarithms.mean() - slope * away.mean())
    return _Line(level, slope, float((logarithms - level - slope * away).std()) + 1e-3)
