"""Figures that other parts measure: on digits integers, teaching without data and later data; and a graph's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType

from evaluators.graphs.teacher import DEFAULT
from tests.benchmarks.distill.later import datafree_gap, forget, smallest_datafree_gap
from tests.benchmarks.distill.ledger import Ledger
from tests.benchmarks.distill.quantised import int8_drop, int8_speedup
from tests.benchmarks.graph_distill import Row, graph_rows, result_line

Tell = Callable[[str], None]
FIGURES: Mapping[str, Callable[[Path, Tell, int], float]] = MappingProxyType(
    {
        "int8_drop": int8_drop,
        "int8_speedup": int8_speedup,
        "datafree_gap": datafree_gap,
        "datafree_gap_smallest": smallest_datafree_gap,
        "forget": forget,
    }
)
"""By their names in the last line: from a cache, what tells of progress, and seeds, to points (the speed-up: a
ratio)."""


def other_figures(ledger: Ledger, cache: Path, seeds: int, tell: Tell) -> dict[str, float]:
    """The figures, measured unless the ledger has them."""
    found = {}
    for name, measure in FIGURES.items():
        row = ledger.row(
            {"figure": name, "seeds": seeds}, lambda measure=measure: {"value": measure(cache, tell, seeds)}
        )
        found[name] = row["value"]
        tell(f"{name}: {row['value']:.2f}")
    return found


def graph_figures(ledger: Ledger, data: Path, cache: Path, seeds: int, tell: Tell) -> str:
    """The line of what perceptrons keep of a graph's network, measured unless the ledger has it."""

    def measure() -> dict[str, object]:
        cache.mkdir(parents=True, exist_ok=True)
        return {"rows": [asdict(row) for row in graph_rows(data, [DEFAULT], seeds, cache, tell=tell)]}

    found = ledger.row({"figure": "graph", "data": data.name, "seeds": seeds}, measure)
    return result_line([Row(row["teacher"], row["method"], tuple(row["scores"])) for row in found["rows"]])
