"""The benchmark in one picture: what each student keeps of its teacher against how much faster it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.tasks.delivered import Figures

KEPT, FASTER = 0.97, 5.0
"""What share of its teacher's metric a student is meant to have, and how many times as fast it is meant to be."""


def draw(found: Sequence[Figures], folder: Path) -> None:
    """Write ``tasks.svg``: a point a task, and the corner that is aimed at."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.axhline(100 * KEPT, color="#888", linewidth=0.8, linestyle="--")
    axes.axvline(FASTER, color="#888", linewidth=0.8, linestyle="--")
    for each in found:
        if each.speedup is None:
            continue
        axes.plot(each.speedup, 100 * each.retained, "o", color="#2f7de1")
        axes.annotate(
            each.task, (each.speedup, 100 * each.retained), xytext=(6, 4), textcoords="offset points", fontsize=9
        )
    axes.set(
        xscale="log",
        xlabel="times as fast as the teacher",
        ylabel="of the teacher's metric kept (%)",
        title="Delivered students, measured again from their bundles",
    )
    axes.margins(0.2)
    figure.savefig(folder / "tasks.svg")
