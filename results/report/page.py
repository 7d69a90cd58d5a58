"""The report as one HTML file: text, tables and figures, scripts and styles inside."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

from results.report.comparison import teacher_bars, time_series
from results.report.confusion import Confusion, confusion_hint, confusion_of
from results.report.details import details
from results.report.examples import examples_hint, examples_html
from results.report.figures import (
    Figure,
    bars_figure,
    confusion_figure,
    importance_figure,
    parallel_figure,
    progress_figure,
    teaching_figure,
    time_figure,
)
from results.report.front_figure import front_figure
from results.report.importance import Importance, importance
from results.report.parallel import parallel_series
from results.report.sections import (
    best_student,
    configuration_html,
    heading_html,
    importance_note,
    left_out_html,
    section_html,
    students_hint,
    students_html,
    targets_html,
    tiles_html,
)
from results.report.series import front_series, progress_series
from results.report.supernet import SUPERNET, supernet_html
from results.report.teaching import teaching_hint, teaching_html, teaching_series
from results.report.texts import CONTINUATIONS, continuations_html, texts_hint, texts_html
from results.view import RunView


def report_html(view: RunView, run: Path) -> str:
    """The whole page; ``run`` is the run's folder as commands should name it."""
    from plotly.offline import get_plotlyjs

    weights = [
        found
        for name in dict.fromkeys(("accuracy", "latency", *view.objectives))
        if (found := importance(view.candidates, name)) is not None
    ]
    said = details(view, run)
    figures = _figures(view, weights, said)
    confusion = confusion_of(view, run)
    if confusion is not None:
        figures["confusion"] = confusion_figure(confusion)
    data = {
        "figures": {name: json.loads(drawn.to_json()) for name, drawn in figures.items()},
        "details": {label: asdict(detail) for label, detail in said.items()},
        "first": _first(view),
    }
    here = files("results.report")
    body = "\n".join(_sections(view, weights, figures, confusion, run))
    return _PAGE.format(
        title=view.name.replace("<", "").replace("&", ""),
        style=here.joinpath("page.css").read_text(encoding="utf-8"),
        body=body,
        data=embedded(data),
        plotly=get_plotlyjs(),
        script=here.joinpath("page.js").read_text(encoding="utf-8"),
    )


def embedded(data: Any) -> str:
    """JSON that no text inside can break out of a script element with."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _figures(view: RunView, weights: list[Importance], said: Mapping[str, Any]) -> dict[str, Figure]:
    figures: dict[str, Figure] = {"front": front_figure(front_series(view), said)}
    for number, bars in enumerate(teacher_bars(view)):
        figures[f"bars{number}"] = bars_figure(bars)
    teaching = teaching_series(view)
    if teaching is not None:
        figures["teaching"] = teaching_figure(teaching)
    if view.candidates:
        progress = progress_series(view)
        figures["progress"] = progress_figure(progress, by="candidates")
        figures["clock"] = progress_figure(progress, by="clock")
    if weights:
        figures["importance"] = importance_figure(weights)
    weightiest = [name for found in weights for name, _ in found.shares[:4]]
    parallel = parallel_series(view, weightiest)
    if parallel is not None:
        figures["parallel"] = parallel_figure(parallel)
    times = time_series(view)
    if times is not None:
        figures["time"] = time_figure(times)
    return figures


def _sections(
    view: RunView,
    weights: list[Importance],
    figures: Mapping[str, Figure],
    confusion: Confusion | None,
    run: Path,
) -> list[str]:
    plots = {name: f'<div class="plot" id="{name}"></div>' for name in figures}
    bars = "".join(plot for name, plot in plots.items() if name.startswith("bars"))
    panel = f'<aside id="panel" aria-live="polite">{_EMPTY}</aside>'
    split = f'<div class="split"><div>{plots["front"]}</div>{panel}</div>'
    parts = [heading_html(view), targets_html(view), tiles_html(view)]
    parts.append(section_html("The front against the budget", _FRONT, split, "front-section"))
    if pictures := examples_html(view, run):
        parts.append(section_html("What the best student sees", examples_hint(view), pictures))
    if texts := texts_html(view, run):
        parts.append(section_html("Where the best student goes its own way", texts_hint(view), texts))
    if texts := continuations_html(view, run):
        parts.append(section_html("How the best student goes on", CONTINUATIONS, texts))
    if view.students:
        parts.append(section_html("The students", students_hint(view), students_html(view)))
        parts.append(section_html("Teacher against students", "", f'<div class="triple">{bars}</div>'))
        taught = teaching_html(view.students)
        if taught:
            parts.append(
                section_html(
                    "How they were taught", teaching_hint(view.students, "supernet" in view.facts), taught
                )
            )
    if "teaching" in plots:
        parts.append(section_html("Accuracy by way of teaching", _TEACHING, plots["teaching"]))
    if confusion is not None:
        parts.append(section_html("What is taken for what", confusion_hint(confusion), plots["confusion"]))
    if supernet := supernet_html(view):
        parts.append(section_html("The supernet", SUPERNET, supernet))
    if "progress" in plots:
        clock = section_html("By the clock", "The same, over the time that the search ran.", plots["clock"])
        count = section_html("Hypervolume by candidates", _HYPERVOLUME, plots["progress"])
        parts.append(f'<div class="pair">{count}{clock}</div>')
    if weights:
        parts.append(section_html("Which choices matter", importance_note(weights), plots["importance"]))
    if "parallel" in plots:
        wide = f'<div class="wide">{plots["parallel"]}</div>'
        parts.append(section_html("Choices and figures together", _PARALLEL, wide))
    if "time" in plots:
        parts.append(section_html("Where the time went", "", plots["time"]))
    return [*parts, left_out_html(view), configuration_html(view, run)]


def _first(view: RunView) -> str:
    """Whom the panel shows at first: the best student, or the best candidate."""
    best = best_student(view)
    if best is not None:
        return f"s{best.number}"
    return f"c{view.front[0].number}" if view.front else ""


_EMPTY = '<p class="hint">Click a point to see its architecture and figures.</p>'
_FRONT = (
    "Accuracy on the validation split, for candidates and students alike, against cost; figures on the test "
    "split are in the students' table and panels. Bars are the quartiles of the repeated measurement, or the 90 % "
    "interval of a prediction; dotted "
    "lines lead from where the search had a finalist to where full training brought it. Click a "
    "point for its architecture; drag to zoom, double-click to go back."
)
_HYPERVOLUME = "Share of what could be won within the budget that the front covers: 100 % is perfect and free."
_TEACHING = (
    "Every candidate that was taught, by the method that taught it; the bar is the median. They also differ in "
    "architecture, and a method that did well was tried more often: for a fair comparison see `--compare-scratch`."
)
_PARALLEL = (
    "Each line is a candidate, coloured from low (yellow) to high accuracy on the validation split (violet); "
    "thick ones are on the front."
)

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{title}: Understudy report</title>
<style>
{style}</style>
</head>
<body>
<main>
{body}
</main>
<script type="application/json" id="data">{data}</script>
<script>{plotly}</script>
<script>
{script}</script>
</body>
</html>
"""
