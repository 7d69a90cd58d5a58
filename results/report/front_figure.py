"""The front against the budget, as a Plotly figure made from its series."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

from results.report.details import Detail
from results.report.figures import Figure, figure
from results.report.labels import Side, label_sides
from results.report.palette import COLOURS
from results.report.series import FrontSeries, Kind, Spot, ticks

_NAMES: Mapping[Kind, str] = {
    "done": "candidate",
    "front": "front of the search",
    "pruned": "stopped early",
    "infeasible": "over the budget",
    "failed": "failed",
    "student": "student, fully taught",
    "fallen": "student, off the front",
    "teacher": "teacher",
}
_MARKERS: Mapping[Kind, Mapping[str, Any]] = {
    "done": {"size": 8, "symbol": "circle", "opacity": 0.75},
    "front": {"size": 10, "symbol": "circle"},
    "pruned": {"size": 8, "symbol": "diamond-open"},
    "infeasible": {"size": 9, "symbol": "circle-open", "line": {"width": 1.6}},
    "failed": {"size": 9, "symbol": "x-thin-open", "line": {"width": 2}},
    "student": {"size": 14, "symbol": "diamond"},
    "fallen": {"size": 12, "symbol": "diamond-open", "line": {"width": 2}},
    "teacher": {"size": 18, "symbol": "star"},
}
_POSITIONS: Mapping[Side, str] = {
    "above": "top center",
    "below": "bottom center",
    "right": "middle right",
    "left": "middle left",
}
_STRIP = (0.0, 0.07)


def front_figure(series: FrontSeries, said: Mapping[str, Detail]) -> Figure:
    """The front against the budget: every spot, the step of the front, teacher, limit.

    Spots that were never scored lie on a strip under the axes, at their cost.
    """
    low, high = series.cost_range()
    sides = label_sides(series)
    strip = any(spot.y is None for spot in series.spots)
    drawn = figure(height=560, clickmode="event")
    _add_front_line(drawn, series)
    for kind in _NAMES:
        _add_spots(drawn, kind, [spot for spot in series.of(kind) if spot.y is not None], said, "y", sides)
        unscored = [spot for spot in series.of(kind) if spot.y is None]
        _add_spots(drawn, kind, unscored, said, "y2", sides)
    _add_moves(drawn, series)
    _add_teacher_line(drawn, series)
    if series.limit is not None:
        _add_limit(drawn, series, high)
    marks = ticks(low, high)
    drawn.update_xaxes(
        type="log",
        range=[math.log10(low), math.log10(high)],
        tickvals=marks,
        ticktext=[f"{mark:g}" for mark in marks],
        title=series.title + ", logarithmic",
        anchor="y2" if strip else "y",
    )
    bottom = 0.13 if strip else 0.0
    drawn.update_layout(yaxis={"title": series.height, "range": series.accuracy_range(), "domain": [bottom, 1]})
    if strip:
        label = {"tickvals": [0], "ticktext": ["not<br>trained"], "ticks": ""}
        plain = {"showgrid": False, "zeroline": False, "fixedrange": True, "anchor": "x"}
        drawn.update_layout(yaxis2={"domain": list(_STRIP), "range": [-1, 1], **label, **plain})
    return drawn


def _add_front_line(drawn: Figure, series: FrontSeries) -> None:
    front = [spot for spot in series.of("front") if spot.y is not None]
    drawn.add_scatter(
        x=[spot.x for spot in front],
        y=[spot.y for spot in front],
        mode="lines",
        line={"shape": "hv", "width": 2, "color": COLOURS["front"]},
        opacity=0.55,
        hoverinfo="skip",
        showlegend=False,
        name="front line",
    )


def _add_spots(
    drawn: Figure,
    kind: Kind,
    spots: Sequence[Spot],
    said: Mapping[str, Detail],
    axis: str,
    sides: Mapping[str, Side],
) -> None:
    if not spots:
        return
    numbered = kind in ("student", "fallen")
    drawn.add_scatter(
        x=[spot.x for spot in spots],
        y=[0.0 if spot.y is None else spot.y for spot in spots],
        yaxis=axis,
        mode="markers+text" if numbered or kind == "teacher" else "markers",
        text=[f"#{spot.label[1:]}" if numbered else spot.label for spot in spots],
        textposition=[_POSITIONS[sides.get(spot.label, "above")] for spot in spots],
        textfont={"color": COLOURS[kind], "size": 12},
        hovertext=[hover_text(said[spot.label]) for spot in spots],
        hoverinfo="text",
        customdata=[spot.label for spot in spots],
        marker={"color": COLOURS[kind], **_MARKERS[kind]},
        error_x=_quartiles(kind, spots) if axis == "y" else None,
        name=_NAMES[kind] if axis == "y" else f"{_NAMES[kind]}, not trained",
        cliponaxis=False,
    )


def _quartiles(kind: Kind, spots: Sequence[Spot]) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [spot.high - spot.x for spot in spots],
        "arrayminus": [spot.x - spot.low for spot in spots],
        "thickness": 1.2,
        "width": 0,
        "color": COLOURS[kind],
    }


def _add_moves(drawn: Figure, series: FrontSeries) -> None:
    """A line from where the search had each finalist to where it ended."""
    xs: list[float | None] = []
    ys: list[float | None] = []
    for spot in series.of("student", "fallen"):
        if spot.before is not None:
            xs += [spot.before[0], spot.x, None]
            ys += [spot.before[1], spot.y, None]
    if xs:
        line = {"width": 1.5, "dash": "dot", "color": COLOURS["student"]}
        drawn.add_scatter(x=xs, y=ys, mode="lines", line=line, hoverinfo="skip", showlegend=False, name="moves")


def _add_teacher_line(drawn: Figure, series: FrontSeries) -> None:
    if series.teacher is not None:
        line = {"color": COLOURS["teacher"], "width": 1.2, "dash": "dash"}
        drawn.add_shape(type="line", xref="paper", x0=0, x1=1, y0=series.teacher, y1=series.teacher, line=line)
        if not series.of("teacher"):
            note = {"text": html.escape(f"teacher {series.teacher_name}"), "font": {"color": COLOURS["teacher"]}}
            drawn.add_annotation(
                xref="paper", x=0, xanchor="left", y=series.teacher, yanchor="bottom", showarrow=False, **note
            )


def _add_limit(drawn: Figure, series: FrontSeries, high: float) -> None:
    """Shade what lies beyond the budget."""
    limit, colour = series.limit or high, COLOURS["limit"]
    place = {"xref": "x", "yref": "paper", "x0": limit, "y0": 0, "y1": 1}
    drawn.add_shape(
        type="rect", x1=high, fillcolor=colour, opacity=0.07, line={"width": 0}, layer="below", **place
    )
    drawn.add_shape(type="line", x1=limit, line={"color": colour, "width": 1.5}, **place)
    drawn.add_annotation(
        text=f"budget {limit:g} {series.unit}",
        x=math.log10(limit),
        yref="paper",
        y=1,
        xanchor="right" if series.limit_is_far else "left",
        yanchor="top",
        xshift=-4 if series.limit_is_far else 4,
        showarrow=False,
        font={"color": colour},
    )


def hover_text(detail: Detail) -> str:
    """A detail in a few lines."""
    lines = [f"<b>{html.escape(detail.title)}</b>  {html.escape(detail.state)}"]
    lines += [f"{html.escape(name)}: {html.escape(value)}" for name, value in detail.figures[:5]]
    parts = [f"{name} {value}" for name, value in detail.choice]
    lines += [html.escape("  ".join(parts[start : start + 4])) for start in range(0, min(len(parts), 12), 4)]
    lines += ["..."] if len(parts) > 12 else []
    return "<br>".join(lines)
