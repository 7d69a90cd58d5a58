"""What earlier runs of a space say of accuracies here, as long as they rank what was taught here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scipy.stats import kendalltau

from search.samplers.encoding import Array, Encoding
from search.samplers.process import condition, hyperparameters
from spaces.choice import Value

_TOLD = 6
"""So many must have been taught here before a run is judged."""
_LEAST, _CHANCE = 0.3, 0.05
"""Kendall's tau that a run must reach, and how likely at most one that says nothing reaches as much."""


class EarlierRun:
    """The candidates of one run with their errors, (n,), in units of its own spread.

    A Gaussian process over their choices alone predicts the errors of candidates here. Whoever taught other data
    may have other errors; what counts is which of two candidates errs less.
    """

    def __init__(self, encoding: Encoding, choices: Sequence[Mapping[str, Value]], errors: Array) -> None:
        self.choices, self.errors, self._encoding = choices, errors, encoding
        rows = encoding.rows(encoding.codes(choices))
        self._process = condition(hyperparameters(rows, encoding.groups, errors), rows, encoding.groups, errors)

    def holds(self, choices: Sequence[Mapping[str, Value]], errors: Array) -> bool:
        """Whether the run is worth heeding where these candidates had these (n,) errors."""
        if len(errors) < _TOLD:
            return True
        expected = self._process.mean(self._encoding.rows(self._encoding.codes(choices)))
        found = kendalltau(expected, errors, alternative="greater")
        return bool(found.statistic >= _LEAST and found.pvalue <= _CHANCE)
