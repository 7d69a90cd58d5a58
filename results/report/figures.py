"""The smaller figures of the report, as Plotly figures made from plain data."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from results.measurement import METRICS
from results.report.comparison import Bars, TimeSeries
from results.report.confusion import Confusion
from results.report.importance import Importance
from results.report.palette import COLOURS, STEPS
from results.report.parallel import ParallelSeries
from results.report.series import ProgressSeries
from results.report.teaching import TeachingSeries

Figure = Any
"""A ``plotly.graph_objects.Figure``; Plotly carries no types."""


def figure(**layout: Any) -> Figure:
    """An empty figure without Plotly's own template, see-through so that the page's theme shows."""
    import plotly.graph_objects as go

    base: dict[str, Any] = {
        "template": go.layout.Template(),
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 64, "r": 20, "t": 16, "b": 56},
        "hoverlabel": {"align": "left"},
        "hovermode": "closest",
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
    }
    return go.Figure(layout=base | layout)


def progress_figure(series: ProgressSeries, by: str) -> Figure:
    """The hypervolume by candidates (``by="candidates"``) or by the clock (``by="clock"``)."""
    xs: Sequence[float] = series.counts if by == "candidates" else series.hours
    minutes = by == "clock" and max(xs, default=0.0) < 1.5
    xs = [60 * hours for hours in xs] if minutes else xs
    title = "candidates finished" if by == "candidates" else f"{'minutes' if minutes else 'hours'} of search"
    drawn = figure(height=280, showlegend=False)
    drawn.add_scatter(
        x=[0, *xs],
        y=[0.0, *(100 * volume for volume in series.volumes)],
        mode="lines",
        line={"shape": "hv", "width": 2.5, "color": COLOURS["front"]},
        fill="tozeroy",
        fillcolor="rgba(47,125,225,0.12)",
        hovertemplate="%{y:.2f} % after %{x:.4g}<extra></extra>",
    )
    drawn.update_xaxes(title=title, rangemode="tozero")
    drawn.update_yaxes(title="hypervolume (%)", rangemode="tozero")
    return drawn


def importance_figure(found: Sequence[Importance], most: int = 10) -> Figure:
    """Shares of the choices, one group of bars a metric, the weightiest choice on top."""
    totals: dict[str, float] = {}
    for each in found:
        for name, share in each.shares:
            totals[name] = max(totals.get(name, 0.0), share)
    names = sorted(totals, key=lambda name: totals[name])[-most:]
    drawn = figure(height=110 + 34 * len(names), barmode="group", bargap=0.3, hovermode="y unified")
    for each, colour in zip(found, ("front", "student", "teacher", "done"), strict=False):
        shares = dict(each.shares)
        drawn.add_bar(
            orientation="h",
            y=names,
            x=[100 * shares.get(name, 0.0) for name in names],
            name=METRICS[each.metric].heading,
            marker={"color": COLOURS[colour]},
            hovertemplate="%{x:.1f} %",
        )
    drawn.update_xaxes(title="share of the explained variation (%)", rangemode="tozero")
    drawn.update_yaxes(automargin=True)
    return drawn


def parallel_figure(series: ParallelSeries) -> Figure:
    """One line a scored candidate across its choices and figures; the colour is its accuracy."""
    drawn = figure(height=420, showlegend=False, margin={"l": 56, "r": 56, "t": 24, "b": 70}, clickmode="event")
    columns = list(range(len(series.axes)))
    for line in series.lines:
        drawn.add_scatter(
            x=columns,
            y=list(line.heights),
            mode="lines+markers",
            line={
                "color": STEPS[line.step],
                "width": 3 if line.on_front else 1.2,
            },
            opacity=1.0 if line.on_front else 0.45,
            marker={"size": 5},
            customdata=[line.label] * len(columns),
            hovertext=[
                f"#{line.label[1:]}  {axis.name}: {text}"
                for axis, text in zip(series.axes, line.texts, strict=True)
            ],
            hoverinfo="text",
        )
    for column, axis in zip(columns, series.axes, strict=True):
        drawn.add_shape(
            type="line",
            x0=column,
            x1=column,
            y0=0,
            y1=1,
            line={"width": 1, "color": COLOURS["done"]},
            layer="below",
        )
        for height, text in axis.marks:
            place = {"x": column, "y": height, "xanchor": "right", "xshift": -5, "showarrow": False}
            drawn.add_annotation(text=text, font={"size": 10.5}, name="backed", **place)
    drawn.update_xaxes(
        tickvals=columns,
        ticktext=[axis.name for axis in series.axes],
        showgrid=False,
        zeroline=False,
        tickangle=-25,
        range=[-0.5, len(columns) - 0.5],
    )
    drawn.update_yaxes(visible=False, range=[-0.06, 1.06])
    return drawn


def bars_figure(bars: Bars) -> Figure:
    """One figure of the teacher and of every student, as bars beneath one another."""
    drawn = figure(height=90 + 30 * len(bars.names), showlegend=False, margin={"l": 10, "r": 64, "t": 36, "b": 36})
    drawn.add_bar(
        orientation="h",
        y=list(bars.names),
        x=list(bars.values),
        marker={"color": [COLOURS[colour] for colour in bars.colours]},
        text=list(bars.texts),
        textposition="outside",
        cliponaxis=False,
        hoverinfo="skip",
        error_x={
            "type": "data",
            "symmetric": False,
            "array": list(bars.above),
            "arrayminus": list(bars.below),
            "thickness": 1.2,
            "width": 0,
        },
    )
    marks = {"tickvals": list(bars.marks), "ticktext": [f"{mark:g}" for mark in bars.marks]}
    drawn.update_xaxes(type="log" if bars.logarithmic else "linear", range=list(bars.ends), **marks)
    drawn.update_yaxes(automargin=True, autorange="reversed")
    drawn.update_layout(title={"text": bars.title, "font": {"size": 14}, "x": 0, "xref": "container", "y": 0.98})
    return drawn


def confusion_figure(found: Confusion) -> Figure:
    """A square for each pair of classes: darker, the more of the row's samples are given the column's class."""
    labels = list(found.labels)
    drawn = figure(height=150 + 26 * len(labels), margin={"l": 10, "r": 20, "t": 16, "b": 10})
    drawn.add_heatmap(
        x=labels,
        y=labels,
        z=found.shares,
        customdata=found.counts,
        text=[[str(count) if count else "" for count in row] for row in found.counts],
        texttemplate="%{text}",
        zmin=0,
        zmax=1,
        colorscale=[[0, "rgba(47,125,225,0.04)"], [1, COLOURS["front"]]],
        showscale=False,
        xgap=2,
        ygap=2,
        hovertemplate="%{y}: %{customdata} of its samples are taken for %{x} (%{z:.1%})<extra></extra>",
    )
    drawn.update_xaxes(title="the student's answer", type="category", automargin=True, showgrid=False)
    drawn.update_yaxes(
        title={"text": "class", "standoff": 12},
        type="category",
        automargin=True,
        autorange="reversed",
        showgrid=False,
    )
    return drawn


def teaching_figure(series: TeachingSeries) -> Figure:
    """The candidates' accuracies by the method that taught them, and each method's median as a line."""
    drawn = figure(height=100 + 30 * len(series.methods), showlegend=False)
    for method, values, labels in zip(series.methods, series.accuracies, series.labels, strict=True):
        drawn.add_scatter(
            x=list(values),
            y=[method] * len(values),
            mode="markers",
            marker={"size": 8, "color": COLOURS["front"], "opacity": 0.6},
            hovertext=[f"{label}, {value:.2f} %" for label, value in zip(labels, values, strict=True)],
            hoverinfo="text",
        )
        middle = statistics.median(values)
        mark = {"symbol": "line-ns", "size": 16, "line": {"width": 2.5, "color": COLOURS["student"]}}
        drawn.add_scatter(x=[middle], y=[method], mode="markers", marker=mark, hoverinfo="skip")
    drawn.update_xaxes(title=series.height)
    drawn.update_yaxes(automargin=True, autorange="reversed")
    return drawn


def time_figure(series: TimeSeries) -> Figure:
    """All candidates' time by stage."""
    drawn = figure(height=100 + 32 * len(series.stages), showlegend=False)
    drawn.add_bar(
        orientation="h",
        y=list(series.stages),
        x=list(series.totals),
        text=list(series.texts),
        textposition="auto",
        cliponaxis=False,
        marker={"color": COLOURS["front"]},
        hoverinfo="skip",
    )
    drawn.update_xaxes(title="seconds, all candidates together", rangemode="tozero")
    drawn.update_yaxes(automargin=True, autorange="reversed")
    return drawn
