"""Timing the kernels that teach most about a device, for as long as one is given."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from evaluators.compile.compiler import link_kernels, lower_kernels
from evaluators.compile.kernel_facts import KernelFacts, facts_of
from evaluators.compile.kernel_times import Kernel, list_kernels
from evaluators.latency.predict.correction import Timed
from evaluators.latency.predict.predictor import TimedNetwork
from evaluators.latency.predict.prior import roofline_seconds
from evaluators.latency.predict.stopwatch import Stopwatch
from evaluators.latency.predict.store import LatencyStore
from hw_profiles.profile import Profile

CHOICE = 3
"""So many networks are looked at for each that is timed: the one whose unknown kernels take most of its time."""


@dataclass(frozen=True)
class Calibrated:
    """How many networks and kernels were timed."""

    networks: int
    kernels: int


def calibrate(
    profile: Profile, networks: Iterator[Any], seconds: float, store: LatencyStore, stopwatch: Stopwatch
) -> Calibrated:
    """Time networks (relax modules) and their kernels that the store does not hold yet; keep the figures.

    Raises ``MeasureError`` when nothing can be timed; what was timed before is kept.
    """
    end = time.monotonic() + seconds
    known = store.keys(profile)
    held = len(known)
    count = 0
    while time.monotonic() < end:
        looked = [lower_kernels(module, profile) for module in islice(networks, CHOICE)]
        if not looked:
            break
        listed = [_listed(computed, scheduled, profile) for computed, scheduled in looked]
        best = max(range(len(looked)), key=lambda each: _worth(listed[each], known, profile))
        timed, whole = _timed(looked[best][1], listed[best], known, profile, stopwatch)
        store.add(profile, timed, [whole])
        known |= {each.facts.key for each in timed}
        count += 1
    return Calibrated(count, len(known) - held)


def _worth(listed: list[tuple[Kernel, KernelFacts]], known: set[str], profile: Profile) -> float:
    """How much a network teaches: the share of its time, by the roofline, that its unknown kernels take,
    weighted with how many they are."""
    times = {facts.key: facts.calls * roofline_seconds(facts.counts, profile) for _, facts in listed}
    fresh = [key for key in times if key not in known]
    return len(fresh) * sum(times[key] for key in fresh) / sum(times.values())


def _listed(computed: Any, scheduled: Any, profile: Profile) -> list[tuple[Kernel, KernelFacts]]:
    kernels = list_kernels(computed, scheduled)
    return [(kernel, facts_of(kernel, scheduled[kernel.name], profile)) for kernel in kernels]


def _timed(
    scheduled: Any,
    listed: list[tuple[Kernel, KernelFacts]],
    known: set[str],
    profile: Profile,
    stopwatch: Stopwatch,
) -> tuple[list[Timed], TimedNetwork]:
    fresh = {facts.key: (kernel, facts) for kernel, facts in listed if facts.key not in known}
    with tempfile.TemporaryDirectory(prefix="understudy-") as folder:
        compiled = link_kernels(scheduled, profile, Path(folder) / "network.so")
        whole, times = stopwatch.times(scheduled, compiled, [kernel for kernel, _ in fresh.values()])
    timed = [Timed(facts, each, profile) for (_, facts), each in zip(fresh.values(), times, strict=True)]
    return timed, TimedNetwork(tuple(facts for _, facts in listed), whole)
