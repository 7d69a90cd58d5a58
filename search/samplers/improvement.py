"""How much hypervolume a candidate is expected to add whose costs are known and whose error is not."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr
from scipy.stats.qmc import Sobol

Array = NDArray[np.float64]
_POINTS = 512


@dataclass(frozen=True)
class Front:
    """What was won so far: (m,) errors with (m, k) costs, and the (1 + k) reference point of error and costs."""

    errors: Array
    costs: Array
    reference: Array

    def improvement(self, mean: Array, deviation: Array, costs: Array) -> Array:
        """The expected hypervolume improvement of candidates, (n,), as a share of all below the reference.

        ``mean`` and ``deviation`` (n,) are those of their normally distributed errors, ``costs`` (n, k). With the
        costs known, a candidate improves at each cost from its own on by what its error is below the least error
        had there: an integral, over the costs, of expected improvements of one variable (Emmerich, Giannakoglou
        and Naujoks, 2006, where one objective alone is uncertain). Exact for one cost; for several, over points
        spread evenly.
        """
        ends = self.reference[1:]
        unit = float(np.prod(self.reference))
        if costs.shape[1] == 0:
            return _improvement(mean, deviation, min(self.reference[0], *self.errors, np.inf)) / unit
        total = np.zeros(len(mean))
        if costs.shape[1] == 1:
            for start, end, error in self._steps():
                reached = np.flatnonzero(costs[:, 0] < end)
                width = end - np.maximum(costs[reached, 0], start)
                total[reached] += width * _improvement(mean[reached], deviation[reached], error)
            return total / unit
        points = Sobol(costs.shape[1], seed=0).random(_POINTS) * ends
        for point in points:
            won = self.errors[(self.costs <= point).all(1)]
            reached = np.flatnonzero((costs <= point).all(1))
            total[reached] += _improvement(mean[reached], deviation[reached], min([*won, self.reference[0]]))
        return total * float(np.prod(ends)) / _POINTS / unit

    @cached_property
    def members(self) -> NDArray[np.intp]:
        """The places of those that no other beats in error and costs."""
        points = np.concatenate([self.errors[:, None], self.costs], axis=1)
        finite = np.flatnonzero(np.isfinite(self.errors))
        found: list[int] = []
        kept = np.empty((len(finite), points.shape[1]))
        for at in finite[np.lexsort(points[finite].T[::-1])].tolist():  # no later one beats an earlier one
            point, members = points[at], kept[: len(found)]
            if not ((members <= point).all(1) & (members < point).any(1)).any():
                kept[len(found)] = point
                found.append(at)
        return np.sort(np.array(found, np.intp))

    def joined(self, error: float, costs: Array) -> Front:
        """Its members, with one more candidate of such an error and costs (k,)."""
        members = self.members
        return Front(
            np.append(self.errors[members], error), np.vstack([self.costs[members], costs]), self.reference
        )

    def _steps(self) -> list[tuple[float, float, float]]:
        """The stairs of a front with one cost: from, to, and the least error had there."""
        starts, errors = [0.0], [float(self.reference[0])]
        for at in np.lexsort((self.errors, self.costs[:, 0])):
            if self.errors[at] < errors[-1] and self.costs[at, 0] < self.reference[1]:
                starts.append(float(self.costs[at, 0]))
                errors.append(float(self.errors[at]))
        return list(zip(starts, [*starts[1:], float(self.reference[1])], errors, strict=True))


def _improvement(mean: Array, deviation: Array, best: float) -> Array:
    """By how much normally distributed values are expected to lie below ``best``."""
    away = (best - mean) / deviation
    density = np.exp(-0.5 * away**2) / np.sqrt(2 * np.pi)
    return np.asarray(deviation * (away * ndtr(away) + density), float)
