"""Which choices of the space move a figure: an estimate from the candidates of one run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from results.candidate import Candidate
from results.view import differing

FEWEST = 12
"""Fewer candidates than this say nothing about a dozen choices."""


@dataclass(frozen=True)
class Importance:
    """The shares (adding up to 1) of a figure's explained variation by choice, largest first.

    ``fit`` is the R² on candidates that the trees in question had not seen: near or below 0, the shares mean
    nothing.
    """

    metric: str
    count: int
    fit: float
    shares: tuple[tuple[str, float], ...]


def importance(candidates: Sequence[Candidate], metric: str) -> Importance | None:
    """How much each choice matters for a metric, or None for too few candidates or choices.

    Mean decrease of impurity in a random forest (Breiman, "Random forests", Machine Learning 45, 2001) on
    every candidate with that figure (accuracy: fully taught); costs in logarithms. Words are numbered in
    alphabetical order.
    """
    measured = [
        candidate
        for candidate in candidates
        if metric in candidate.measurements and (metric != "accuracy" or candidate.fidelity == 1)
    ]
    names = differing([candidate.choice for candidate in measured])
    if len(measured) < FEWEST or not names:
        return None
    values = np.array([candidate.measurements[metric].value for candidate in measured])
    target = np.log(np.maximum(values, 1e-12)) if metric != "accuracy" else values
    if np.ptp(target) == 0:
        return None
    table = np.column_stack([encode([candidate.choice.get(name) for candidate in measured]) for name in names])
    fit, shares = _forest(table, target)
    ranked = sorted(zip(names, shares, strict=True), key=lambda pair: -pair[1])
    return Importance(metric, len(measured), fit, tuple((name, float(share)) for name, share in ranked))


def encode(values: Sequence[object]) -> NDArray[np.float64]:
    """Values of one choice as numbers: numbers as they are, words by alphabetical rank, absent as -1."""
    if all(isinstance(value, int | float) or value is None for value in values):
        return np.array([float(value) if isinstance(value, int | float) else -1.0 for value in values])
    ranks = {word: rank for rank, word in enumerate(sorted({str(value) for value in values}))}
    return np.array([float(ranks[str(value)]) for value in values])


def _forest(table: NDArray[np.float64], target: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    from sklearn.ensemble import RandomForestRegressor

    forest: Any = RandomForestRegressor(300, min_samples_leaf=2, oob_score=True, random_state=0, n_jobs=1)
    forest.fit(table, target)
    return float(forest.oob_score_), forest.feature_importances_
