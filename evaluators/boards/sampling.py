"""Timing a student in turn with a reference, until its median is known well enough."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Timed = Callable[[int], float]
"""Seconds of one call, the mean of as many as are asked for."""

SAMPLE_S = 2e-3
"""A sample is the mean of as many calls as take this long."""
FEWEST = 12
NARROW = 0.01
"""A median is known when half its confidence interval is at most this share of it."""
_Z = 1.96


@dataclass(frozen=True)
class Samples:
    """Seconds of a call by sample: the student's, and the reference's taken in turn with them."""

    student: tuple[float, ...]
    reference: tuple[float, ...]

    @property
    def drift(self) -> float:
        """How much slower the reference was in the last third than in the first: 0 on a steady device."""
        third = max(1, len(self.reference) // 3)
        return float(np.median(self.reference[-third:]) / np.median(self.reference[:third])) - 1


def sample_in_turn(student: Timed, reference: Timed, limit_s: float) -> Samples:
    """Warm up, then sample both in turn until the student's median is narrow or ``limit_s`` seconds are over."""
    calls = [_calls(timed, limit_s / 10) for timed in (student, reference)]
    samples: tuple[list[float], list[float]] = [], []
    end = time.monotonic() + limit_s
    while len(samples[0]) < 3 or (time.monotonic() < end and not _narrow(samples[0])):
        for timed, count, kept in zip((student, reference), calls, samples, strict=True):
            kept.append(timed(count))
    return Samples(tuple(samples[0]), tuple(samples[1]))


def median_interval(samples: Sequence[float]) -> tuple[float, float]:
    """The 95 % confidence interval of the median by order statistics, whatever the distribution.

    Conover, "Practical Nonparametric Statistics" (1999), section 3.2, in the normal approximation.
    """
    ordered = sorted(samples)
    reach = _Z * math.sqrt(len(ordered)) / 2
    low = max(0, math.floor(len(ordered) / 2 - reach))
    high = min(len(ordered) - 1, math.ceil(len(ordered) / 2 + reach))
    return ordered[low], ordered[high]


def _narrow(samples: Sequence[float]) -> bool:
    if len(samples) < FEWEST:
        return False
    low, high = median_interval(samples)
    return (high - low) / 2 <= NARROW * float(np.median(samples))


def _calls(timed: Timed, limit_s: float) -> int:
    """Calls in a sample, after a warm-up that raises the clock."""
    end, fastest = time.monotonic() + limit_s, timed(1)
    while time.monotonic() < end:
        calls = max(1, math.ceil(SAMPLE_S / fastest))
        fastest = min(fastest, timed(calls))
    return max(1, math.ceil(SAMPLE_S / fastest))
