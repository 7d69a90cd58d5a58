"""How far predictions lie from what is measured, learnt from networks that were held out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import stdtrit

COVERAGE = 0.9
"""Share of networks whose measured latency lies in the interval of its prediction."""

_FREEDOM = 4
"""Degrees of freedom of the errors' distribution: some are far out, as of timings that something disturbed."""

_BELIEF = 1.0
"""Standard deviation of the logarithms of ``noise`` and ``scale`` around their start, before networks are seen."""


@dataclass(frozen=True)
class Errors:
    """Sizes of the errors of a prediction's logarithm.

    ``noise`` is what a network of known kernels errs by, its own measurement's noise within; ``scale`` is by how
    much the doubt about unknown kernels counts.
    """

    noise: float = 0.03
    scale: float = 1.0

    def reach(self, doubts: NDArray[np.float64]) -> NDArray[np.float64]:
        """How far at most the logarithm of a measured latency lies from that of its prediction."""
        reach: NDArray[np.float64] = _sizes(self.noise, self.scale, doubts) * stdtrit(_FREEDOM, (1 + COVERAGE) / 2)
        return reach


def learn_errors(errors: NDArray[np.float64], doubts: NDArray[np.float64]) -> Errors:
    """From the errors of networks held out, and the standard deviation that each prediction's kernels make likely.

    Errors are taken for Student's t (Lange, Little and Taylor, 1989), fitted by the greatest posterior density:
    few networks leave the sizes near where they start. Quantiles of the errors themselves would promise no more,
    and depend on the four networks furthest out of eighty.
    """
    start = np.log([Errors.noise, Errors.scale])

    def cost(sizes: NDArray[np.float64]) -> float:
        noise, scale = np.exp(sizes)
        spread = _sizes(noise, scale, doubts)
        misfit = np.log(spread) + (_FREEDOM + 1) / 2 * np.log1p((errors / spread) ** 2 / _FREEDOM)
        return float(misfit.sum() + ((sizes - start) ** 2).sum() / (2 * _BELIEF**2))

    noise, scale = np.exp(minimize(cost, start, method="Nelder-Mead").x)
    return Errors(float(noise), float(scale))


def _sizes(noise: float, scale: float, doubts: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sqrt(noise**2 + (scale * doubts) ** 2)
