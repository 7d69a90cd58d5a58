"""The front as PNG and SVG, drawn by Matplotlib without a browser or a display."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from results.report.labels import Side, label_sides
from results.report.palette import COLOURS
from results.report.series import FrontSeries, Kind, Spot, front_series, ticks
from results.store import write_atomically
from results.view import RunView

_LOOKS: dict[Kind, dict[str, Any]] = {
    "done": {"label": "candidate", "marker": "o", "s": 26, "alpha": 0.7, "linewidths": 0},
    "pruned": {"label": "stopped early", "marker": "D", "s": 24, "facecolors": "none"},
    "infeasible": {"label": "over the budget", "marker": "o", "s": 32, "facecolors": "none"},
    "failed": {"label": "failed", "marker": "x", "s": 32},
    "front": {"label": "front of the search", "marker": "o", "s": 42, "linewidths": 0},
    "student": {"label": "student, fully taught", "marker": "D", "s": 62, "linewidths": 0},
    "fallen": {"label": "student, off the front", "marker": "D", "s": 52, "facecolors": "none"},
    "teacher": {"label": "teacher", "marker": "*", "s": 190, "linewidths": 0},
}

_BESIDE: dict[Side, dict[str, Any]] = {
    "above": {"xytext": (0, 7), "ha": "center"},
    "below": {"xytext": (0, -14), "ha": "center"},
    "right": {"xytext": (7, 0), "ha": "left", "va": "center"},
    "left": {"xytext": (-7, 0), "ha": "right", "va": "center"},
}


def write_front(view: RunView, folder: Path) -> None:
    """Write ``front.png`` (150 dots an inch) and ``front.svg``, or ``front-TARGET`` of one target among several.

    Raises ``RunError`` when that is impossible.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    name = f"front-{view.target}" if view.target else "front"
    with matplotlib.rc_context({"svg.hashsalt": "understudy", "font.size": 9.5}):
        drawn = Figure(figsize=(8.4, 5.2), layout="constrained", facecolor="white")
        FigureCanvasAgg(drawn)
        _draw(drawn.subplots(), front_series(view), view.name)
        for suffix, options in (("png", {"dpi": 150}), ("svg", {"metadata": {"Date": None}})):
            content = io.BytesIO()
            drawn.savefig(content, format=suffix, **options)
            write_atomically(folder / f"{name}.{suffix}", content.getvalue())


def _draw(axes: Any, series: FrontSeries, name: str) -> None:
    low, high = series.cost_range()
    bottom, top = series.accuracy_range()
    unscored = [spot for spot in series.spots if spot.y is None]
    strip = bottom - 0.06 * (top - bottom)
    _draw_front(axes, series)
    sides = label_sides(series)
    for kind, look in _LOOKS.items():
        _draw_spots(axes, series.of(kind), kind, look, strip, sides)
    _draw_goals(axes, series, low, high)
    axes.set(xscale="log", xlim=(low, high), ylim=(strip - 0.05 * (top - bottom) if unscored else bottom, top))
    marks = ticks(low, high)
    axes.set_xticks(marks, [f"{mark:g}" for mark in marks])
    axes.minorticks_off()
    axes.set(xlabel=series.title + ", logarithmic", ylabel=series.height)
    axes.set_title(name.replace("$", r"\$"), loc="left", fontsize=11)
    if unscored:
        place = {"transform": axes.get_yaxis_transform(), "ha": "right", "va": "center"}
        axes.text(-0.012, strip, "not\ntrained", fontsize=7.5, color="#5a6675", **place)
        axes.axhline((strip + bottom) / 2 + 0.01 * (top - bottom), color="#dfe4ea", linewidth=0.8)
    axes.grid(color="#e8ecf0", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if series.spots:
        axes.legend(fontsize=8, frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=4, borderaxespad=0)


def _draw_front(axes: Any, series: FrontSeries) -> None:
    front = [spot for spot in series.of("front") if spot.y is not None]
    axes.step(
        [spot.x for spot in front], [spot.y for spot in front], where="post", color=COLOURS["front"], alpha=0.5
    )
    for spot in series.of("student", "fallen"):
        if spot.before is not None and spot.y is not None:
            ends = ([spot.before[0], spot.x], [spot.before[1], spot.y])
            axes.plot(*ends, color=COLOURS["student"], linewidth=1, linestyle=":")


def _draw_spots(
    axes: Any, spots: Sequence[Spot], kind: Kind, look: dict[str, Any], strip: float, sides: Mapping[str, Side]
) -> None:
    if not spots:
        return
    hollow = "facecolors" in look
    paint = {"edgecolors" if hollow else "color": COLOURS[kind]}
    heights = [strip if spot.y is None else spot.y for spot in spots]
    axes.scatter([spot.x for spot in spots], heights, zorder=3, **look, **paint)
    scored = [spot for spot in spots if spot.y is not None]
    errors = [[spot.x - spot.low for spot in scored], [spot.high - spot.x for spot in scored]]
    axes.errorbar(
        [spot.x for spot in scored],
        [spot.y for spot in scored],
        xerr=errors,
        fmt="none",
        ecolor=COLOURS[kind],
        elinewidth=0.8,
    )
    if kind in ("student", "fallen"):
        for spot in scored:
            place = {**_BESIDE[sides.get(spot.label, "above")], "textcoords": "offset points", "fontsize": 8}
            axes.annotate(f"#{spot.label[1:]}", (spot.x, spot.y), color=COLOURS[kind], **place)


def _draw_goals(axes: Any, series: FrontSeries, low: float, high: float) -> None:
    if series.teacher is not None:
        axes.axhline(series.teacher, color=COLOURS["teacher"], linewidth=1, linestyle="--")
        name = f" teacher {series.teacher_name}".replace("$", r"\$")
        axes.text(low, series.teacher, name, color=COLOURS["teacher"], fontsize=8, va="bottom")
    if series.limit is not None:
        axes.axvspan(series.limit, high, color=COLOURS["limit"], alpha=0.06, linewidth=0)
        axes.axvline(series.limit, color=COLOURS["limit"], linewidth=1)
        text = f" budget {series.limit:g} {series.unit} "
        axes.text(
            series.limit,
            1,
            text,
            transform=axes.get_xaxis_transform(),
            color=COLOURS["limit"],
            va="top",
            ha="right" if series.limit_is_far else "left",
            fontsize=8,
        )
