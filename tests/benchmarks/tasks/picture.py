"""The benchmark in one picture: what each student keeps of its teacher, and how much faster it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.tasks.delivered import Figures

KEPT, FASTER = 0.97, 5.0
"""What share of its teacher's metric a student is meant to have, and how many times as fast it is meant to be."""


def draw(found: Sequence[Figures], folder: Path) -> None:
    """Write ``tasks.svg``: two bars a task, and the lines that are aimed at."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 1 + 0.4 * len(found)), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle("Delivered students, measured again from their bundles")
    names = [each.task for each in found]
    panels = figure.subplots(1, 2, sharey=True)
    for axes, values, aim, shown, title in (
        (
            panels[0],
            [100 * each.retained for each in found],
            100 * KEPT,
            "%.0f %%",
            "of the teacher's metric",
        ),
        (panels[1], [each.speedup or 0.0 for each in found], FASTER, "%.1f", "times as fast as the teacher"),
    ):
        bars = axes.barh(names, values, color="#2f7de1")
        labels = [shown % value if value else "not compiled" for value in values]
        axes.bar_label(bars, labels, padding=3, fontsize=9, bbox={"color": "white", "pad": 0.5})
        axes.axvline(aim, color="#444", linewidth=0.8, linestyle="--", zorder=0.5)
        axes.set_xlabel(title)
        axes.margins(x=0.2)
    panels[0].invert_yaxis()
    figure.savefig(folder / "tasks.svg")
