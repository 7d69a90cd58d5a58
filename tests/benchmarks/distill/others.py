"""Figures that other parts measure: quantised students, teaching without data, learning later."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


def other_figures(folder: Path, tell: Callable[[str], None]) -> dict[str, float]:
    """The figures by their names in the last line of the benchmark."""
    return {}
