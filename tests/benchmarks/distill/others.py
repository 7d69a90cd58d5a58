"""Figures of the last line that other parts measure, on digits: teaching without data, learning later."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from tests.benchmarks.distill.later import datafree_gap, forget
from tests.benchmarks.distill.ledger import Ledger

Tell = Callable[[str], None]
FIGURES: Mapping[str, Callable[[Path, Tell, int], float]] = MappingProxyType(
    {"datafree_gap": datafree_gap, "forget": forget}
)
"""By their names in the last line: from a cache, what tells of progress, and seeds, to points."""


def other_figures(ledger: Ledger, cache: Path, seeds: int, tell: Tell) -> dict[str, float]:
    """The figures, measured unless the ledger has them."""
    found = {}
    for name, measure in FIGURES.items():
        row = ledger.row(
            {"figure": name, "seeds": seeds}, lambda measure=measure: {"points": measure(cache, tell, seeds)}
        )
        found[name] = row["points"]
        tell(f"{name}: {row['points']:.2f} points")
    return found
