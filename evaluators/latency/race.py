"""Several ways to compute the same thing, timed in turn: the slow ones leave early, drift bends no ratio."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from results.bundle.runner import Array, Inputs, as_tuple

Runner = Callable[..., Any]
Sampler = Callable[[Any, tuple[Array, ...], int], float]
"""Seconds of a call of a runner on inputs, the mean of so many."""
SAMPLE_S = 3e-4
"""A sample is the mean of as many calls as take this long."""
ROUNDS = ((3, 1.3), (6, 1.1), (12, 1.04), (20, 1.0))
"""Rounds of one sample each, and who stays after them: within this factor of the fastest."""
TOLERANCE = 1e-4
"""Largest difference to the first runner's outputs, as a share of the largest."""


@dataclass(frozen=True)
class Lap:
    """How one runner did: seconds a call (median and quartiles of ``repeats`` samples), and its time over that of
    the first runner, the median of what each round says. ``fault`` says why there are no figures."""

    median_s: float = math.nan
    low_s: float = math.nan
    high_s: float = math.nan
    repeats: int = 0
    relative: float = math.nan
    fault: str = ""


def sample_here(runner: Runner, arrays: tuple[Array, ...], calls: int) -> float:
    """Seconds of a call in this process."""
    start = time.perf_counter()
    for _ in range(calls):
        runner(*arrays)
    return (time.perf_counter() - start) / calls


def race(runners: Sequence[Runner], inputs: Inputs, sample: Sampler = sample_here) -> list[Lap]:
    """Time ``runner(*inputs)`` of all runners, the first being the one that others are held against.

    Successive elimination (Karnin et al., "Almost Optimal Exploration in Multi-Armed Bandits", 2013): after each
    stage of rounds the slower ones leave, the first stays to the end. A runner whose outputs are not the first's
    is not timed.
    """
    arrays = as_tuple(inputs)
    expected = [np.array(each) for each in _outputs(runners[0], arrays)]
    faults = ["" if _agrees(expected, _outputs(runner, arrays)) else "wrong" for runner in runners]
    racing = [index for index, fault in enumerate(faults) if not fault]
    calls = {index: max(1, math.ceil(SAMPLE_S / _once(runners[index], arrays, sample))) for index in racing}
    samples: dict[int, list[float]] = {index: [] for index in racing}
    for rounds, factor in ROUNDS:
        if not racing or (len(racing) < 2 and samples[0]):
            break
        for _ in range(rounds):
            for index in racing:
                samples[index].append(sample(runners[index], arrays, calls[index]))
        fastest = min((np.median(samples[index]) for index in racing), default=0.0)
        racing = [index for index in racing if not index or np.median(samples[index]) <= factor * fastest]
    return [Lap(fault=fault) if fault else _lap(samples[index], samples[0]) for index, fault in enumerate(faults)]


def _outputs(runner: Runner, arrays: tuple[Array, ...]) -> tuple[Array, ...]:
    return as_tuple(runner(*arrays))


def _agrees(expected: Sequence[Array], found: Sequence[Array]) -> bool:
    return len(expected) == len(found) and all(map(_close, expected, found))


def _close(expected: Array, found: Array) -> bool:
    if expected.shape != found.shape or not np.isfinite(expected).all():
        return False
    scale = float(np.abs(expected).max(initial=0)) or 1.0
    difference = np.abs(np.subtract(expected, found, dtype=np.float64))
    return bool(difference.max(initial=0) <= TOLERANCE * scale)


def _once(runner: Runner, arrays: tuple[Array, ...], sample: Sampler) -> float:
    """Seconds of a call, after one that warms up."""
    return min(sample(runner, arrays, 1) for _ in range(2))


def _lap(samples: Sequence[float], first: Sequence[float]) -> Lap:
    low, median, high = np.quantile(samples, (0.25, 0.5, 0.75))
    relative = np.median(np.divide(samples, first[: len(samples)]))
    return Lap(float(median), float(low), float(high), len(samples), float(relative))
