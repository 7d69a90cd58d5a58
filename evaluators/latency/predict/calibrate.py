"""Timing the kernels that teach most about a device, for as long as one is given."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from evaluators.compile.compiler import link_kernels, lower_kernels
from evaluators.compile.kernel_facts import KernelFacts, facts_of
from evaluators.compile.kernel_times import Kernel, list_kernels, time_kernels
from evaluators.latency.predict.correction import Timed
from evaluators.latency.predict.predictor import TimedNetwork
from evaluators.latency.predict.store import LatencyStore
from hw_profiles.profile import Profile
from results.bundle.runner import CompiledStudent, measure_latency
from understudy import MeasureError

CHOICE = 3
"""So many networks are looked at for each that is timed: the one with most kernels that were not timed yet."""


@dataclass(frozen=True)
class Calibrated:
    """How many networks and kernels were timed."""

    networks: int
    kernels: int


def calibrate(
    profile: Profile,
    networks: Iterator[Any],
    seconds: float,
    store: LatencyStore,
    alone: Callable[[], AbstractContextManager[None]],
) -> Calibrated:
    """Time networks (relax modules) and their new kernels on this computer, inside ``alone``; keep the figures.

    Raises ``MeasureError`` when this computer cannot run the profile's students.
    """
    if profile.reach != "host":
        raise MeasureError(
            f"students for {profile.name} cannot run here: calibrate on a computer that it describes"
        )
    end = time.monotonic() + seconds
    known: set[str] = set()
    count = 0
    while time.monotonic() < end:
        looked = [lower_kernels(module, profile) for module in islice(networks, CHOICE)]
        if not looked:
            break
        listed = [_listed(computed, scheduled, profile) for computed, scheduled in looked]
        best = max(range(len(looked)), key=lambda each: sum(facts.key not in known for _, facts in listed[each]))
        timed, whole = _timed(looked[best][1], listed[best], known, profile, alone)
        store.add(profile, timed, [whole])
        known |= {each.facts.key for each in timed}
        count += 1
    return Calibrated(count, len(known))


def _listed(computed: Any, scheduled: Any, profile: Profile) -> list[tuple[Kernel, KernelFacts]]:
    kernels = list_kernels(computed, scheduled)
    return [(kernel, facts_of(kernel, scheduled[kernel.name], profile)) for kernel in kernels]


def _timed(
    scheduled: Any,
    listed: list[tuple[Kernel, KernelFacts]],
    known: set[str],
    profile: Profile,
    alone: Callable[[], AbstractContextManager[None]],
) -> tuple[list[Timed], TimedNetwork]:
    fresh = {facts.key: (kernel, facts) for kernel, facts in listed if facts.key not in known}
    with tempfile.TemporaryDirectory(prefix="understudy-") as folder:
        compiled = link_kernels(scheduled, profile, Path(folder) / "network.so")
        student = CompiledStudent(compiled.library, profile.threads)
        inputs = tuple(np.zeros(spec.shape, spec.dtype) for spec in compiled.inputs)
        with alone():
            whole = measure_latency(student, inputs)["median_s"]
            times = time_kernels(compiled.library, [kernel for kernel, _ in fresh.values()])
    timed = [Timed(facts, each, profile) for (_, facts), each in zip(fresh.values(), times, strict=True)]
    return timed, TimedNetwork(tuple(facts for _, facts in listed), whole)
