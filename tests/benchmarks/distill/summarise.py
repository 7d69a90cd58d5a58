"""From the ledger to the figures; a training or timing that is not there yet is left out."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evaluators.distill.methods.response import HardLabels
from tests.benchmarks.distill.setting import Pair
from tests.benchmarks.distill.summary import Estimate, Gain, PeerComparison, Summary
from tests.benchmarks.distill.trainings import OURS, PEER, Bench

ALONE = HardLabels.name
"""How a student is trained alone."""


@dataclass(frozen=True)
class _Figures:
    """What the ledger knows of these seeds."""

    bench: Bench
    seeds: int

    def scores(self, pair: Pair, method: str, by: str = OURS) -> dict[int, float]:
        """Test accuracy by seed, per cent."""
        rows = {seed: self.bench.known(pair, method, by, seed=seed) for seed in range(self.seeds)}
        return {seed: 100 * row["accuracy"] for seed, row in rows.items() if row is not None}

    def differences(self, pair: Pair, ours: tuple[str, str], other: tuple[str, str]) -> list[float]:
        """Points of a (method, by whom) over another, seed by seed."""
        first, second = self.scores(pair, *ours), self.scores(pair, *other)
        return [first[seed] - second[seed] for seed in first if seed in second]

    def step(self, method: str, by: str) -> float:
        """Milliseconds of a step, median."""
        row = self.bench.known_time(self.bench.setting.pairs[0], method, by)
        return math.nan if row is None else 1e3 * statistics.median(row["steps"])

    def gain(self, method: str) -> Gain:
        found = {
            pair.name: self.differences(pair, (method, OURS), (ALONE, OURS)) for pair in self.bench.setting.pairs
        }
        by_pair = {name: Estimate.of(values) for name, values in found.items() if values}
        pooled = [each for values in found.values() for each in values]
        return Gain(method, by_pair, Estimate.of(pooled), self.step(method, OURS))

    def peer(self, method: str) -> PeerComparison:
        pairs = self.bench.setting.pairs
        pooled = [each for pair in pairs for each in self.differences(pair, (method, OURS), (method, PEER))]
        return PeerComparison(method, Estimate.of(pooled), self.step(method, OURS) / self.step(method, PEER))


def summarise(
    bench: Bench,
    methods: Sequence[str],
    shared: Sequence[str],
    seeds: int,
    facts: Mapping[str, Any],
    others: Mapping[str, float],
) -> Summary:
    """The figures of ``methods`` over so many seeds; ``shared`` are those that the peer has, too."""
    figures, setting = _Figures(bench, seeds), bench.setting
    gains = [figures.gain(name) for name in methods]
    told = {
        **facts,
        "train_images": setting.task.size("train"),
        "test_images": setting.task.size("test"),
        "schedule": repr(setting.schedule),
        "students": {pair.space.name: dict(pair.choice) for pair in setting.pairs},
    }
    return Summary(
        facts=told,
        teachers=dict(setting.teachers()),
        alone={pair.name: Estimate.of(list(figures.scores(pair, ALONE).values())) for pair in setting.pairs},
        gains=tuple(gain for gain in gains if gain.overall.count),
        peers=tuple(map(figures.peer, shared)),
        others=dict(others),
    )
