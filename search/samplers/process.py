"""A Gaussian process over rows in groups of columns: a mean and a deviation for what was not evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

Array = NDArray[np.float64]
_WEIGHT, _NOISE = 0.3, 0.15
"""What a group's weight and the noise (a deviation) are believed to be before anything was seen."""
_SPREAD, _NOISE_SPREAD = 1.0, 0.7
"""The standard deviation of that belief, of the logarithm."""
_BOUND = 4.0
_JITTER = 1e-6
_STEPS = 25
_MOST = 200
"""From so many observations, evenly spaced, hyperparameters are learnt; predictions use all."""


@dataclass(frozen=True)
class Process:
    """What was learnt: ``scale`` of each column and the noise's variance, in units of targets of deviation 1."""

    scale: Array
    amplitude: float
    noise: float
    rows: Array
    factor: Array
    targets: Array

    def mean(self, rows: Array) -> Array:
        """The expected targets of rows, (n,)."""
        weights = cho_solve((self.factor, True), self.targets)
        return np.asarray(self._kernel(rows) @ weights.astype(np.float32), float)

    def deviation(self, rows: Array) -> Array:
        """The standard deviation of the expected targets of rows, without the noise, (n,)."""
        factor = self.factor.astype(np.float32)
        explained = solve_triangular(factor, self._kernel(rows).T, lower=True, check_finite=False)
        return np.asarray(np.sqrt(np.maximum(self.amplitude - (explained**2).sum(0), 1e-6)), float)

    def _kernel(self, rows: Array) -> NDArray[np.float32]:
        """In single precision: it is taken of many rows, and the noise is far above what is lost.

        One product gives the exponents, for which half the squared norms are two more columns: of so many rows,
        each further pass over all pairs costs as much as the exponentials.
        """
        most = np.float32(np.log(self.amplitude))
        first, second = (each.astype(np.float32) * self.scale.astype(np.float32) for each in (rows, self.rows))
        norms = [-0.5 * (each**2).sum(1, keepdims=True) for each in (first, second)]
        first = np.concatenate([first, norms[0], np.ones_like(norms[0])], axis=1)
        second = np.concatenate([second, np.ones_like(norms[1]), norms[1] + most], axis=1)
        kernel = first @ second.T
        return np.asarray(np.exp(np.minimum(kernel, most, out=kernel), out=kernel))


def condition(logarithms: Array, rows: Array, groups: Sequence[slice], targets: Array) -> Process:
    """The process of given hyperparameters after (n, columns) rows with (n,) targets.

    Its covariance is a product of squared exponentials, one a group (whose columns share a weight): whatever
    several groups decide together can be learnt.
    """
    amplitude, noise = np.exp(2 * logarithms[:2])
    scale = np.zeros(rows.shape[1])
    for group, weight in zip(groups, logarithms[2:], strict=True):
        scale[group] = np.exp(0.5 * weight)
    covariance = amplitude * np.exp(-0.5 * _squared(rows * scale, rows * scale))
    covariance[np.diag_indices_from(covariance)] += noise + _JITTER
    return Process(scale, float(amplitude), float(noise), rows, cholesky(covariance, lower=True), targets)


def hyperparameters(rows: Array, groups: Sequence[slice], targets: Array) -> Array:
    """The logarithms of amplitude, noise (both deviations) and the weight of each group.

    They are the maximum of their posterior (Rasmussen and Williams, 2006, section 5.4.1) after (n, columns) rows
    with (n,) targets of mean 0 and deviation 1, found from the same start every time.
    """
    if len(rows) > _MOST:
        chosen = np.linspace(0, len(rows) - 1, _MOST).round().astype(int)
        rows, targets = rows[chosen], targets[chosen]
    distances = np.array([_squared(rows[:, group], rows[:, group]) for group in groups])
    believed = np.concatenate([[0.0, np.log(_NOISE)], np.full(len(groups), np.log(_WEIGHT))])
    spread = np.full(len(believed), _SPREAD)
    spread[1] = _NOISE_SPREAD

    def loss(point: Array) -> tuple[float, Array]:
        """The negative logarithm of the posterior, and its gradient."""
        weights = np.exp(point[2:])
        kernel = np.exp(2 * point[0] - 0.5 * np.tensordot(weights, distances, axes=1))
        noise = np.exp(2 * point[1])
        try:
            factor = cholesky(kernel + (noise + _JITTER) * np.eye(len(rows)), lower=True, check_finite=False)
        except LinAlgError:
            return 1e10, np.zeros_like(point)
        inverse = cho_solve((factor, True), np.eye(len(rows)), check_finite=False)
        solved = inverse @ targets
        away = (point - believed) / spread
        value = 0.5 * targets @ solved + np.log(np.diag(factor)).sum() + 0.5 * away @ away
        slope = 0.5 * (inverse - np.outer(solved, solved))
        through = slope * kernel
        of_weights = -0.5 * weights * np.tensordot(distances, through, axes=([1, 2], [0, 1]))
        gradient = np.concatenate([[2 * through.sum(), 2 * noise * np.trace(slope)], of_weights])
        return float(value), gradient + away / spread

    bounds = [(centre - _BOUND, centre + _BOUND) for centre in believed]
    found = minimize(loss, believed, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": _STEPS})
    return np.asarray(found.x, float)


def _squared(first: Array, second: Array) -> Array:
    """Squared distances, (n, m)."""
    norms = (first**2).sum(1)[:, None] + (second**2).sum(1)[None]
    return np.asarray(np.maximum(norms - 2 * first @ second.T, 0), float)
