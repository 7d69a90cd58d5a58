"""What the comparison of one network found, and what all of them come to."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from tests.benchmarks.kernels.peers import ONNXRUNTIME, OURS

WRONG = 1e-3
"""A runtime whose output differs by more than this share of the largest output computes something else."""


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of the rounds, in seconds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, times: Iterable[float]) -> Spread:
        low, median, high = (float(value) for value in np.quantile(list(times), (0.25, 0.5, 0.75)))
        return cls(median, low, high)


@dataclass(frozen=True)
class Comparison:
    """One network: times and errors by runtime, why others are left out, seconds of our compiling.

    ``errors`` are the largest difference to torch as a share of its largest output. ``side_by_side`` is false
    when the peers' times were read from another run.
    """

    network: str
    group: str
    times: Mapping[str, Spread]
    errors: Mapping[str, float]
    failures: Mapping[str, str]
    compile_s: float | None
    side_by_side: bool = True

    @property
    def best(self) -> str | None:
        """The fastest peer."""
        peers = [name for name in self.times if name != OURS]
        return min(peers, key=lambda name: self.times[name].median) if peers else None

    def ratio(self, peer: str | None) -> float:
        """Our median over the peer's: infinite when ours failed, NaN when the peer did."""
        if peer is None or peer not in self.times:
            return math.nan
        return self.times[OURS].median / self.times[peer].median if OURS in self.times else math.inf


@dataclass(frozen=True)
class Summary:
    """All networks together; the means are over those that ours could run."""

    comparisons: tuple[Comparison, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)

    def geometric_mean(self, against: str | None = None, group: str | None = None, size: str = "") -> float:
        """Of the ratios against one peer, or against each network's best; NaN without any."""
        chosen = [c for c in self.comparisons if group in (None, c.group) and size in c.network]
        ratios = [c.ratio(against or c.best) for c in chosen]
        logarithms = [math.log(ratio) for ratio in ratios if math.isfinite(ratio)]
        return math.exp(sum(logarithms) / len(logarithms)) if logarithms else math.nan

    @property
    def failed(self) -> list[str]:
        """Networks that ours could not run or got wrong."""
        return [c.network for c in self.comparisons if OURS not in c.times]

    @property
    def result(self) -> str:
        """The last line: what failed makes the worst ratio infinite and is named behind."""
        ratios = [c.ratio(c.best) for c in self.comparisons]
        worst = max((ratio for ratio in ratios if not math.isnan(ratio)), default=math.nan)
        compiled = next((c.compile_s for c in self.comparisons if c.network == "mobilenetv2"), None)
        failed = f" failed={','.join(self.failed)}" if self.failed else ""
        return (
            f"RESULT kernels geomean_vs_ort={self.geometric_mean(ONNXRUNTIME):.3f} "
            f"geomean_vs_best={self.geometric_mean():.3f} worst_vs_best={worst:.3f} "
            f"compile_s_mobilenetv2={math.nan if compiled is None else compiled:.2f}{failed}"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data, with the result's figures."""
        return {
            "facts": dict(self.facts),
            "result": self.result,
            "networks": [asdict(c) | {"best": c.best} for c in self.comparisons],
        }


def relative_error(expected: Any, output: Any) -> float:
    """The largest difference as a share of the largest expected value; infinite for another shape or NaN."""
    if expected.shape != output.shape:
        return math.inf
    difference = float(np.abs(expected - output).max()) / (float(np.abs(expected).max()) or 1.0)
    return difference if math.isfinite(difference) else math.inf


def peers_of(data: Mapping[str, Any]) -> dict[str, dict[str, Spread]]:
    """The peers' times by network, from the JSON of an earlier run."""
    return {
        entry["network"]: {name: Spread(**spread) for name, spread in entry["times"].items() if name != OURS}
        for entry in data["networks"]
    }
