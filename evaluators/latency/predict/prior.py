"""What a kernel costs by the profile alone: the roofline, and the figures that the correction is learnt from.

The roofline of Williams, Waterman and Patterson (2009), with a roof for each level of memory.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from evaluators.compile.kernel_facts import KernelFacts
from hw_profiles.profile import Profile

Table = NDArray[np.float64]

COUNTS = (
    *("operations", "bytes", "output", "largest", "arguments", "stores", "loads", "gathers", "scalars"),
    *("arithmetic", "divisions", "functions", "branches", "iterations", "parallel", "copies", "depth"),
)
RULES = (
    *("convolution", "winograd", "depthwise", "dense", "matmul", "integer", "attention", "rows", "pooling"),
    *("transpose", "pieces", "fallback"),
)
"""The rules that kernels are told apart by; what another one scheduled is none of these."""

_L1_LOADS = 2
_SLOWER = (1, 2, 4)
"""Vectors that a core loads from its first cache in a cycle; how much slower the second and third are."""


def roofline_seconds(counts: Mapping[str, float], profile: Profile) -> float:
    """The least seconds of a call, by arithmetic and by the level of memory that its bytes fit in."""
    threads = min(float(profile.threads), max(1.0, counts["parallel"]))
    share = threads / profile.threads
    arithmetic = counts["operations"] / (profile.peak() * share)
    return max(arithmetic, counts["bytes"] / _bandwidth(counts["bytes"], profile, threads), 1e-9)


def issue_seconds(counts: Mapping[str, float], profile: Profile) -> float:
    """Seconds of a call if every instruction took its turn: loads, stores and arithmetic start two a cycle."""
    threads = min(float(profile.threads), max(1.0, counts["parallel"]))
    turns = sum(counts[name] for name in ("stores", "loads", "scalars", "arithmetic", "branches", "iterations"))
    turns += 2 * counts["gathers"] + 8 * counts["divisions"] + 10 * counts["functions"]
    return (turns / profile.vector_pipes + 20) / (profile.clock_ghz * 1e9 * threads)


def feature_table(kernels: Sequence[KernelFacts], profile: Profile) -> Table:
    """A row for each kernel: logarithms of its costs and counts, of their ratios, and which rule made it."""
    return np.array([_row(kernel, profile) for kernel in kernels], dtype=np.float64)


def _row(kernel: KernelFacts, profile: Profile) -> list[float]:
    counts = kernel.counts
    roof, issue = roofline_seconds(counts, profile), issue_seconds(counts, profile)
    work = max(counts["operations"], counts["output"], 1.0)
    ratios = [counts[name] / work for name in ("loads", "stores", "gathers", "iterations", "bytes", "functions")]
    return [
        math.log(roof),
        math.log(issue),
        math.log(issue / roof),
        *(math.log1p(counts[name]) for name in COUNTS),
        *(math.log(ratio + 1e-4) for ratio in ratios),
        *(float(kernel.rule == rule) for rule in RULES),
    ]


def _bandwidth(size: float, profile: Profile, threads: float) -> float:
    """Bytes a second from the smallest level that holds ``size`` bytes."""
    first = profile.vector_bits / 8 * _L1_LOADS * profile.clock_ghz * 1e9
    levels = (profile.l1d_bytes * threads, profile.l2_bytes * threads, float(profile.l3_bytes))
    for capacity, slower in zip(levels, _SLOWER, strict=True):
        if size <= capacity:
            return first * threads / slower
    return min(profile.memory_bandwidth, first * threads)
