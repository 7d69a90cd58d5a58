"""What the trainings say: gains over the student alone, with intervals, and the one line at the end."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from scipy.stats import t as student_t

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean in points, and half the width of its 95 % interval (Student's t; NaN for a single value)."""

    mean: float
    half: float
    count: int

    @staticmethod
    def of(values: Sequence[float]) -> Estimate:
        """The estimate from independent values."""
        count = len(values)
        if count < 2:
            return Estimate(values[0] if values else math.nan, math.nan, count)
        error = statistics.stdev(values) / math.sqrt(count)
        return Estimate(
            statistics.fmean(values), error * float(student_t.ppf((1 + CONFIDENCE) / 2, count - 1)), count
        )

    def __str__(self) -> str:
        return f"{self.mean:+.2f}" + ("" if math.isnan(self.half) else f" ± {self.half:.2f}")


@dataclass(frozen=True)
class Gain:
    """A method's gain over the student alone, in points of test accuracy: by pair, and over all."""

    method: str
    by_pair: dict[str, Estimate]
    overall: Estimate
    step_ms: float = math.nan


@dataclass(frozen=True)
class PeerComparison:
    """One method by ours and by the peer: accuracies in points (ours minus theirs) and the ratio of step times."""

    method: str
    difference: Estimate
    time_ratio: float


@dataclass(frozen=True)
class Summary:
    """The benchmark as it stands. What was not measured is NaN."""

    facts: dict[str, Any]
    teachers: dict[str, float]
    alone: dict[str, Estimate]
    gains: tuple[Gain, ...]
    peers: tuple[PeerComparison, ...]
    others: dict[str, float] = field(default_factory=dict)

    @property
    def result(self) -> str:
        """The line at the end."""
        best = max((gain.overall.mean for gain in self.gains), default=math.nan)
        above = sum(gain.overall.mean > 0 for gain in self.gains)
        ratios = [peer.time_ratio for peer in self.peers if not math.isnan(peer.time_ratio)]
        ratio = statistics.geometric_mean(ratios) if ratios else math.nan
        return (
            f"RESULT distill best_gain={best:.2f} methods_above_alone={above}/{len(self.gains)} "
            f"vs_torchdistill_time={ratio:.3f} int8_drop={self._other('int8_drop'):.2f} "
            f"int8_speedup={self._other('int8_speedup'):.2f} datafree_gap={self._other('datafree_gap'):.2f} "
            f"forget={self._other('forget'):.2f}"
        )

    def to_json(self) -> dict[str, Any]:
        """Everything as plain data."""
        return {**asdict(self), "result": self.result}

    def _other(self, name: str) -> float:
        return self.others.get(name, math.nan)
