"""The learnt correction of the roofline: seconds of kernels that were never timed, from those that were."""

from __future__ import annotations

from collections.abc import Sequence
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
    learnt on other devices is the ``base``: only the rest is learnt, from the few kernels of a new one.
    ``deviation`` is the standard deviation of the logarithm of a prediction's error, each by trees that did not
    see it.
    """

    def __init__(self, timed: Sequence[Timed], base: Correction | None = None) -> None:
        """Learn from what was timed, on one device or on several."""
        self._base = base
        self.deviation: float = _UNKNOWN if base is None else max(base.deviation, _STRANGE)
        self._models: tuple[Any, ...] = ()
        self._factor = 0.0
        if not timed:
            return
        table, errors = _examples(timed)
        errors = errors - self._from_base(table)
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
        return np.asarray(roofs * np.exp(self._logarithms(feature_table(kernels, profile))))

    def _logarithms(self, table: Table) -> NDArray[np.float64]:
        """How much longer than the roofline kernels take."""
        own = _apply(self._models, table) if self._models else np.full(len(table), self._factor)
        return np.asarray(self._from_base(table) + own)

    def _from_base(self, table: Table) -> NDArray[np.float64]:
        return np.zeros(len(table)) if self._base is None else self._base._logarithms(table)


def _examples(timed: Sequence[Timed]) -> tuple[Table, NDArray[np.float64]]:
    """Features, and the logarithm of how much longer than the roofline each took."""
    rows = [feature_table([each.facts], each.profile)[0] for each in timed]
    errors = [np.log(each.seconds / roofline_seconds(each.facts.counts, each.profile)) for each in timed]
    return np.array(rows), np.array(errors)


def _fit(table: Table, errors: NDArray[np.float64]) -> tuple[Any, Any, Any]:
    """The linear model (scikit-learn, which takes half a second to import), and both kinds of trees."""
    from sklearn.ensemble import ExtraTreesRegressor, GradientBoostingRegressor
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    linear = make_pipeline(StandardScaler(), Ridge(alpha=1.0))
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
