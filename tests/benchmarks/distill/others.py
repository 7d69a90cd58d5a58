"""Figures that other parts measure: quantised students, teaching without data, learning later."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


def other_figures(folder: Path, tell: Callable[[str], None]) -> dict[str, float]:
    """The figures by their names in the last line of the benchmark."""
    from tests.benchmarks.distill.later import datafree_gap, forget

    return {"datafree_gap": datafree_gap(folder, tell), "forget": forget(folder, tell)}
