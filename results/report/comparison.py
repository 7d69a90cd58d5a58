"""Plain data of the bars of teacher and students, and of the time by stage."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from results.measurement import Measurement
from results.report.series import accuracy_title, display, ticks
from results.table import stage_seconds
from results.units import format_time
from results.view import RunView


@dataclass(frozen=True)
class Bars:
    """One figure of teacher and students in display units; ``ends`` of the axis in its own (log10) terms."""

    title: str
    names: tuple[str, ...]
    values: tuple[float, ...]
    below: tuple[float, ...]
    above: tuple[float, ...]
    texts: tuple[str, ...]
    colours: tuple[str, ...]
    logarithmic: bool
    ends: tuple[float, float]
    marks: tuple[float, ...]


@dataclass(frozen=True)
class TimeSeries:
    """Seconds of all candidates by stage, with a text of share and median."""

    stages: tuple[str, ...]
    totals: tuple[float, ...]
    texts: tuple[str, ...]


def teacher_bars(view: RunView) -> list[Bars]:
    """Test accuracy, latency and size of the teacher and of every student; what is not known is left out."""
    teacher = view.teacher
    heads = ("test_accuracy", "latency", "size")
    teachers = (teacher.accuracy, teacher.latency, teacher.size) if teacher else (None,) * 3
    bars = []
    for name, of_teacher in zip(heads, teachers, strict=True):
        rows = [("teacher", of_teacher, "teacher")] if of_teacher is not None else []
        rows += [
            (f"student #{each.number}", each.measurements[name], "student" if each.on_front else "done")
            for each in view.students
            if name in each.measurements
        ]
        if view.students and rows:
            bars.append(_bars(name, rows, accuracy_title(view, "test")))
    return bars


def _bars(name: str, rows: Sequence[tuple[str, Measurement, str]], accuracy: str) -> Bars:
    title = {
        "test_accuracy": accuracy,
        "latency": "latency (ms, logarithmic)",
        "size": "size (MB, logarithmic)",
    }
    figures = [figure for _, figure, _ in rows]
    values = [display(figure) for figure in figures]
    logarithmic = name != "test_accuracy"
    ends = _ends(values, logarithmic)
    return Bars(
        title=title[name],
        names=tuple(row[0] for row in rows),
        values=tuple(values),
        below=tuple(
            0.0 if f.low is None else v * (1 - f.low / f.value) for f, v in zip(figures, values, strict=True)
        ),
        above=tuple(
            0.0 if f.high is None else v * (f.high / f.value - 1) for f, v in zip(figures, values, strict=True)
        ),
        texts=tuple(str(figure) for figure in figures),
        colours=tuple(row[2] for row in rows),
        logarithmic=logarithmic,
        ends=ends,
        marks=tuple(_decades(*ends)) if logarithmic else (0.0, 25.0, 50.0, 75.0, 100.0),
    )


def _ends(values: Sequence[float], logarithmic: bool) -> tuple[float, float]:
    if logarithmic:
        return math.log10(min(values)) - 0.5, math.log10(max(values)) + 0.1
    return 0.0, 100.0


def _decades(low: float, high: float) -> list[float]:
    """Marks of a narrow logarithmic axis: powers of ten, or finer ones where it has fewer than two of them."""
    marks = ticks(10**low, 10**high)
    tens = [mark for mark in marks if f"{mark:e}".startswith("1.0")]
    return tens if len(tens) > 1 else marks


def time_series(view: RunView) -> TimeSeries | None:
    """Where the candidates' time went, or None when none was recorded."""
    spent = stage_seconds(view.candidates)
    total = sum(sum(seconds) for seconds in spent.values())
    if not total:
        return None
    return TimeSeries(
        stages=tuple(spent),
        totals=tuple(sum(seconds) for seconds in spent.values()),
        texts=tuple(_time_text(seconds, total) for seconds in spent.values()),
    )


def _time_text(seconds: Sequence[float], total: float) -> str:
    share = 100 * sum(seconds) / total
    return f"{format_time(sum(seconds))}, {share:.1f} %, median {format_time(statistics.median(seconds))}"
