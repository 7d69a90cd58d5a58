"""What accuracy candidates will have: learnt from those that were taught, here and in earlier runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from search.samplers.described import Described
from search.samplers.encoding import Array, Encoding
from search.samplers.process import Process, condition, hyperparameters
from search.samplers.schedule import Remembered

_BEYOND = 1.5
"""Errors beyond the upper quartile by so many interquartile ranges (Tukey's fence) count as no larger: networks
that learn nothing are bad by any figure, and how bad must not bend what is learnt of the good ones."""
_HELD = 1.0
"""The trend is held towards none as if by so many more observations."""
_FEWEST = 2
_HEEDED = 1_000
"""Of more candidates, so many are learnt from, as the time grows with their cube: the half that errs least for
what it costs, and others evenly spread over the search."""


@dataclass(frozen=True)
class Taught:
    """Candidates of one run with their errors (1 - accuracy), (n,)."""

    described: Described
    errors: Array


@dataclass(frozen=True)
class Seen:
    """What is learnt from: a run's own, and candidates of earlier runs (errors in units of their run's spread)."""

    taught: Taught
    elsewhere: Taught | None


@dataclass(frozen=True)
class _Line:
    """Errors, (n,), up to ``limit`` around a straight line of the logarithm of the first cost."""

    costs: tuple[str, ...]
    level: float
    slope: float
    spread: float
    limit: float

    def at(self, described: Described) -> Array:
        return self.level + self.slope * _position(described, self.costs)

    def standardised(self, taught: Taught) -> Array:
        """Their distances from the line in units of their spread."""
        return np.asarray((np.minimum(taught.errors, self.limit) - self.at(taught.described)) / self.spread)


@dataclass(frozen=True)
class Accuracies:
    """Errors as they were learnt: around a straight line of the logarithm of the first cost."""

    process: Process
    costs: tuple[str, ...]
    line: _Line

    def mean(self, described: Described) -> Array:
        """The expected errors, (n,)."""
        around = self.process.mean(described.features(self.costs, 0.0)) * self.line.spread
        return around + self.line.at(described)

    def deviation(self, described: Described) -> Array:
        """The standard deviations of the expected errors, (n,)."""
        return self.process.deviation(described.features(self.costs, 0.0)) * self.line.spread

    @property
    def deviation_before(self) -> float:
        """The largest that a deviation can be: that of a candidate unlike all that were taught."""
        return float(np.sqrt(self.process.amplitude)) * self.line.spread

    @property
    def limit(self) -> float:
        """Errors beyond it count as no larger."""
        return self.line.limit


class AccuracyModel:
    """A Gaussian process of errors over choices and the logarithms of costs.

    What is expected before anything is known falls with the logarithm of the cost: larger networks err less. What
    another run saw is another task: how much one tells of the other is one more weight to learn (the intrinsic
    model of coregionalisation: Bonilla, Chai and Williams, 2007), so that a run that misleads is not heeded.
    """

    def __init__(self, encoding: Encoding, costs: Sequence[str]) -> None:
        self._costs = tuple(costs)
        columns = encoding.groups[-1].stop
        more = len(self._costs) + 1
        self._groups = (*encoding.groups, *(slice(columns + at, columns + at + 1) for at in range(more)))
        self._remembered = Remembered()

    def learnt(self, seen: Seen, waiting: Described, after: Callable[[int], Seen]) -> Accuracies:
        """What the errors that were ``seen`` say of all others.

        ``waiting`` are being evaluated and count as what is expected of them (Ginsbourger, Le Riche and Carraro,
        2010: the kriging believer), so that the next candidate is sought elsewhere. ``after`` tells what had been
        seen when so many were taught: hyperparameters follow from that alone, whenever they are learnt.
        """
        logarithms = self._remembered.get(
            len(seen.taught.errors), lambda count: self._hyperparameters(after(count))
        )
        line = _line(seen.taught, self._costs)
        rows, targets = self._examples(seen, line)
        process = condition(logarithms, rows, self._groups, targets)
        if len(waiting):
            more = waiting.features(self._costs, 0.0)
            believed = np.concatenate([targets, process.mean(more)])
            process = condition(logarithms, np.concatenate([rows, more]), self._groups, believed)
        return Accuracies(process, self._costs, line)

    def _hyperparameters(self, seen: Seen) -> Array:
        rows, targets = self._examples(seen, _line(seen.taught, self._costs))
        return hyperparameters(rows, self._groups, targets)

    def _examples(self, seen: Seen, line: _Line) -> tuple[Array, Array]:
        """Rows and targets to learn from, those of earlier runs first."""
        rows, targets = _heeded(seen.taught.described.features(self._costs, 0.0), line.standardised(seen.taught))
        if seen.elsewhere is None:
            return rows, targets
        others = seen.elsewhere.described.features(self._costs, 1.0)
        return np.concatenate([others, rows]), np.concatenate([seen.elsewhere.errors, targets])


def _heeded(rows: Array, targets: Array) -> tuple[Array, Array]:
    """At most ``_HEEDED`` of (n, columns) rows and their (n,) targets, in their order."""
    if len(rows) <= _HEEDED:
        return rows, targets
    order = np.argsort(targets, kind="stable")
    others = np.sort(order[_HEEDED // 2 :])
    spread = others[np.linspace(0, len(others) - 1, _HEEDED - _HEEDED // 2).round().astype(int)]
    kept = np.sort(np.concatenate([order[: _HEEDED // 2], spread]))
    return rows[kept], targets[kept]


def clipped(errors: Array) -> tuple[Array, float]:
    """Errors up to a limit beyond which they count as no larger, and that limit."""
    if len(errors) < _FEWEST:
        return errors, 1.0
    low, high = np.quantile(errors, [0.25, 0.75])
    limit = float(min(1.0, high + _BEYOND * (high - low))) if high > low else 1.0
    return np.minimum(errors, limit), limit


def standardised(errors: Array) -> Array:
    """The errors of another run in units of their spread."""
    kept, _ = clipped(errors)
    return np.asarray((kept - kept.mean()) / (kept.std() or 1.0))


def _line(taught: Taught, costs: tuple[str, ...]) -> _Line:
    """The straight line through errors; it does not rise."""
    positions, (errors, limit) = _position(taught.described, costs), clipped(taught.errors)
    if len(errors) < _FEWEST:
        level, slope = float(errors.mean()) if len(errors) else 0.5, 0.0
    else:
        away = positions - positions.mean()
        slope = min(float(away @ errors / (away @ away + _HELD)), 0.0)
        level = float(errors.mean() - slope * positions.mean())
    spread = float((errors - level - slope * positions).std()) if len(errors) else 0.0
    return _Line(costs, level, slope, spread or 0.1, limit)


def _position(described: Described, costs: tuple[str, ...]) -> Array:
    return np.log(described.costs[costs[0]].value) if costs else np.zeros(len(described))
