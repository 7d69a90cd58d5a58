"""The learnt correction of the roofline: seconds of kernels that were never timed, from those that were."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators.compile.kernel_facts import KernelFacts
from evaluators.latency.predict.prior import Table, feature_table, roofline_seconds
from hw_profiles.profile import Profile

FEWEST = 12
"""With fewer kernels timed, one factor is learnt for all of them."""

_TREES = 100
_PULL = 10.0
"""Weight of the linear model's penalty (features have a standard deviation of 1)."""

_WORK = ("operations", "bytes", "output", "largest", "arguments")
_UNKNOWN, _STRANGE = 1.0, 0.3
"""Standard deviation of the logarithm while next to nothing is known; while that is of other devices only."""


@dataclass(frozen=True)
class Timed:
    """A kernel with its seconds of a call, on a device of the profile."""

    facts: KernelFacts
    seconds: float
    profile: Profile


class Correction:
    """Seconds of kernels from their facts: the roofline times what was learnt of its error.

    A linear model of the features extrapolates; two kinds of trees take what is left of its error. What was
    learnt on other devices is the ``base``: of a kernel that does the same work as one that was timed there, that
    one's error, of others what the base makes of their features. Only the rest is learnt, from the few kernels of
    a new device. ``deviation`` is the standard deviation of the logarithm of a prediction's error, each by trees
    that did not see it.
    """

    def __init__(self, timed: Sequence[Timed], base: Correction | None = None) -> None:
        """Learn from what was timed, on one device or on several."""
        self._base = base
        self.deviation: float = _UNKNOWN if base is None else max(base.deviation, _STRANGE)
        self._models: tuple[Any, ...] = ()
        self._factor = 0.0
        self._seen: dict[Hashable, float] = {}
        if not timed:
            return
        found = np.array(
            [math.log(each.seconds / roofline_seconds(each.facts.counts, each.profile)) for each in timed]
        )
        self._seen = _mean_by_work(timed, found)
        table, before = self._start([(each.facts, each.profile) for each in timed])
        errors = found - before
        self._factor = float(np.median(errors))
        if len(timed) < FEWEST:
            return
        linear, trees, _ = self._models = _fit(table, errors)
        left_out = linear.predict(table) + trees.oob_prediction_
        self.deviation = float(np.sqrt(np.mean((left_out - errors) ** 2)))

    def seconds(self, kernels: Sequence[KernelFacts], profile: Profile) -> NDArray[np.float64]:
        """The predicted seconds of a call of each kernel."""
        if not kernels:
            return np.empty(0)
        roofs = np.array([roofline_seconds(kernel.counts, profile) for kernel in kernels])
        return np.asarray(roofs * np.exp(self._logarithms([(kernel, profile) for kernel in kernels])))

    def _logarithms(self, kernels: Sequence[tuple[KernelFacts, Profile]]) -> NDArray[np.float64]:
        """How much longer than the roofline kernels take."""
        table, before = self._start(kernels)
        own = _apply(self._models, table) if self._models else np.full(len(table), self._factor)
        return np.asarray(before + own)

    def _start(self, kernels: Sequence[tuple[KernelFacts, Profile]]) -> tuple[Table, NDArray[np.float64]]:
        """The features of kernels, and what other devices tell of them (with whether one timed the same work)."""
        table = np.array([feature_table([facts], profile)[0] for facts, profile in kernels])
        if self._base is None:
            return table, np.zeros(len(table))
        seen = np.array([self._base._seen.get(_work(facts), np.nan) for facts, _ in kernels])
        before = np.where(np.isnan(seen), self._base._logarithms(kernels), seen)
        return np.column_stack([table, np.isnan(seen)]), before


def _work(facts: KernelFacts) -> Hashable:
    """What a kernel does, however it was scheduled for its device."""
    return (facts.rule, *(facts.counts[name] for name in _WORK))


def _mean_by_work(timed: Sequence[Timed], errors: NDArray[np.float64]) -> dict[Hashable, float]:
    groups: defaultdict[Hashable, list[float]] = defaultdict(list)
    for each, error in zip(timed, errors, strict=True):
        groups[_work(each.facts)].append(float(error))
    return {work: statistics.fmean(found) for work, found in groups.items()}


def _fit(table: Table, errors: NDArray[np.float64]) -> tuple[Any, Any, Any]:
    """The linear model (scikit-learn, which takes half a second to import), and both kinds of trees."""
    from sklearn.ensemble import ExtraTreesRegressor, GradientBoostingRegressor
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    linear = make_pipeline(StandardScaler(), Ridge(alpha=_PULL))
    linear.fit(table, errors)
    trees = ExtraTreesRegressor(
        _TREES, min_samples_leaf=2, max_features=0.5, bootstrap=True, oob_score=True, random_state=0
    )
    rest = errors - linear.predict(table)
    trees.fit(table, rest)
    boosted = GradientBoostingRegressor(
        n_estimators=3 * _TREES, learning_rate=0.05, max_depth=4, subsample=0.6, max_features=0.4, random_state=0
    )
    return linear, trees, boosted.fit(table, rest)


def _apply(models: tuple[Any, ...], table: Table) -> NDArray[np.float64]:
    linear, *forests = models
    return np.asarray(linear.predict(table) + np.mean([each.predict(table) for each in forests], axis=0))
