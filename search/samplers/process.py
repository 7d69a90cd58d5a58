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
_BEFORE, _APART, _NARROW = 20, 8, 1e-6
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
        """In single precision: it is taken of many rows, and the noise is far above what is lost."""
        first, second = ((each * self.scale).astype(np.float32) for each in (rows, self.rows))
        norms = (first**2).sum(1)[:, None] + (second**2).sum(1)[None]
        return np.asarray(self.amplitude * np.exp(np.minimum(first @ second.T - 0.5 * norms, 0)), np.float32)


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
    return _Posterior.after(rows, groups, targets).maximum()


def plausible(rows: Array, groups: Sequence[slice], targets: Array, count: int) -> list[Array]:
    """So many sets of ``hyperparameters`` drawn from their posterior; one is its maximum.

    Few observations leave it open which choices matter, and whoever believes in one answer is too sure of itself.
    Drawn by elliptical slice sampling (Murray, Adams and MacKay, 2010, arXiv:1001.0268) from the maximum on.
    """
    posterior = _Posterior.after(rows, groups, targets)
    best = posterior.maximum()
    return [best] if count == 1 else posterior.drawn(best, count)


@dataclass(frozen=True)
class _Posterior:
    """What is believed of hyperparameters after targets, (n,), at rows with ``distances`` (groups, n, n)."""

    distances: Array
    targets: Array
    believed: Array
    spread: Array

    @staticmethod
    def after(rows: Array, groups: Sequence[slice], targets: Array) -> _Posterior:
        if len(rows) > _MOST:
            chosen = np.linspace(0, len(rows) - 1, _MOST).round().astype(int)
            rows, targets = rows[chosen], targets[chosen]
        distances = np.array([_squared(rows[:, group], rows[:, group]) for group in groups])
        believed = np.concatenate([[0.0, np.log(_NOISE)], np.full(len(groups), np.log(_WEIGHT))])
        spread = np.full(len(believed), _SPREAD)
        spread[1] = _NOISE_SPREAD
        return _Posterior(distances, targets, believed, spread)

    def maximum(self) -> Array:
        """Where it is largest, found from what was believed before."""
        bounds = [(centre - _BOUND, centre + _BOUND) for centre in self.believed]
        options = {"maxiter": _STEPS}
        found = minimize(self._loss, self.believed, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
        return np.asarray(found.x, float)

    def drawn(self, start: Array, count: int) -> list[Array]:
        """Samples of it: every ``_APART``-th of a chain, after the first ``_BEFORE``."""
        random, found = np.random.default_rng(len(self.targets)), list[Array]()
        away, fit = start - self.believed, self._fit(start)
        for step in range(_BEFORE + _APART * count):
            along = random.standard_normal(len(away)) * self.spread
            least = fit + np.log(random.random())
            angle = random.uniform(0, 2 * np.pi)
            low, high = angle - 2 * np.pi, angle
            while True:
                point = away * np.cos(angle) + along * np.sin(angle)
                fit = self._fit(point + self.believed)
                if fit > least or high - low < _NARROW:
                    break
                low, high = (angle, high) if angle < 0 else (low, angle)
                angle = random.uniform(low, high)
            away = point
            if step >= _BEFORE and (step - _BEFORE + 1) % _APART == 0:
                found.append(away + self.believed)
        return found

    def _fit(self, point: Array) -> float:
        """The logarithm of the likelihood, up to a constant."""
        _, factor = self._factor(point)
        if factor is None:
            return -np.inf
        solved = cho_solve((factor, True), self.targets, check_finite=False)
        return float(-0.5 * self.targets @ solved - np.log(np.diag(factor)).sum())

    def _factor(self, point: Array) -> tuple[Array, Array | None]:
        """The covariance without noise, and the Cholesky factor of that with it, if there is one."""
        kernel = np.exp(2 * point[0] - 0.5 * np.tensordot(np.exp(point[2:]), self.distances, axes=1))
        noisy = kernel + (np.exp(2 * point[1]) + _JITTER) * np.eye(len(kernel))
        try:
            return kernel, cholesky(noisy, lower=True, check_finite=False)
        except LinAlgError:
            return kernel, None

    def _loss(self, point: Array) -> tuple[float, Array]:
        """The negative logarithm of the posterior, and its gradient."""
        kernel, factor = self._factor(point)
        if factor is None:
            return 1e10, np.zeros_like(point)
        weights, noise = np.exp(point[2:]), np.exp(2 * point[1])
        inverse = cho_solve((factor, True), np.eye(len(kernel)), check_finite=False)
        solved = inverse @ self.targets
        away = (point - self.believed) / self.spread
        value = 0.5 * self.targets @ solved + np.log(np.diag(factor)).sum() + 0.5 * away @ away
        slope = 0.5 * (inverse - np.outer(solved, solved))
        through = slope * kernel
        of_weights = -0.5 * weights * np.tensordot(self.distances, through, axes=([1, 2], [0, 1]))
        gradient = np.concatenate([[2 * through.sum(), 2 * noise * np.trace(slope)], of_weights])
        return float(value), gradient + away / self.spread


def _squared(first: Array, second: Array) -> Array:
    """Squared distances, (n, m)."""
    norms = (first**2).sum(1)[:, None] + (second**2).sum(1)[None]
    return np.asarray(np.maximum(norms - 2 * first @ second.T, 0), float)
