"""Plain data of the parallel coordinates, the bars of teacher and students, and the time by stage."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from results.candidate import Candidate, Value
from results.measurement import METRICS, Measurement
from results.report.palette import STEPS
from results.report.series import display, ticks
from results.table import stage_seconds
from results.units import format_time
from results.view import RunView, differing


@dataclass(frozen=True)
class Axis:
    """An axis of the parallel coordinates: its marks as (height in 0..1, text)."""

    name: str
    marks: tuple[tuple[float, str], ...]


@dataclass(frozen=True)
class Line:
    """A candidate across the axes: heights in 0..1 and what each stands for; ``step`` colours it."""

    label: str
    heights: tuple[float, ...]
    texts: tuple[str, ...]
    step: int
    on_front: bool


@dataclass(frozen=True)
class ParallelSeries:
    """The parallel coordinates; lines of the front come last, so that they are drawn on top."""

    axes: tuple[Axis, ...]
    lines: tuple[Line, ...]


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


def parallel_series(view: RunView, weightiest: Sequence[str], most: int = 8) -> ParallelSeries | None:
    """The scored candidates across their choices and objectives, or None for fewer than two.

    At most ``most`` choices are shown, those named in ``weightiest`` first.
    """
    scored = [each for each in view.candidates if each.state == "done" and "accuracy" in each.measurements]
    varied = differing([candidate.choice for candidate in scored])
    if len(scored) < 2 or not varied:
        return None
    ranked = dict.fromkeys([*(name for name in weightiest if name in varied), *varied])
    names = [name for name in varied if name in list(ranked)[:most]]
    metrics = [name for name in METRICS if all(name in candidate.measurements for candidate in scored)]
    columns = [_choice_column(name, [candidate.choice.get(name) for candidate in scored]) for name in names]
    columns += [_metric_column(name, [candidate.measurements[name] for candidate in scored]) for name in metrics]
    front = {candidate.number for candidate in view.front}
    steps = _steps(scored)
    lines = [
        Line(
            f"c{each.number}",
            tuple(c[1][i] for c in columns),
            tuple(c[2][i] for c in columns),
            steps[i],
            each.number in front,
        )
        for i, each in enumerate(scored)
    ]
    return ParallelSeries(
        tuple(column[0] for column in columns), tuple(sorted(lines, key=lambda line: line.on_front))
    )


_Column = tuple[Axis, list[float], list[str]]


def _choice_column(name: str, values: Sequence[Value | None]) -> _Column:
    """Heights by rank among the values that occur; a little apart where many lines would lie on one another."""
    numbers = all(isinstance(value, int | float) for value in values)
    known = sorted(set(values), key=(lambda value: float(value or 0)) if numbers else str)
    places = {value: rank / (len(known) - 1) for rank, value in enumerate(known)}
    apart = 0.25 / (len(known) - 1)
    heights = [places[value] + apart * ((index * 0.618034) % 1 - 0.5) * 0.4 for index, value in enumerate(values)]
    marks = tuple((places[value], _word(value)) for value in known)
    return (
        Axis(name, marks if len(marks) <= 8 else (marks[0], marks[-1])),
        heights,
        [_word(value) for value in values],
    )


def _word(value: Value | None) -> str:
    return "–" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _metric_column(name: str, figures: Sequence[Measurement]) -> _Column:
    metric = METRICS[name]
    values = [figure.value if metric.maximise else math.log(max(figure.value, 1e-12)) for figure in figures]
    low, high = min(values), max(values)
    heights = [(value - low) / (high - low) if high > low else 0.5 for value in values]
    ordered = sorted(figures, key=lambda figure: figure.value)
    marks = ((0.0, str(ordered[0])), (1.0, str(ordered[-1]))) if high > low else ((0.5, str(ordered[0])),)
    return Axis(metric.heading, marks), heights, [str(figure) for figure in figures]


def _steps(scored: Sequence[Candidate]) -> list[int]:
    """The colour of each candidate, by the rank of its accuracy."""
    ranks = sorted(range(len(scored)), key=lambda index: scored[index].measurements["accuracy"].value)
    place = {index: rank for rank, index in enumerate(ranks)}
    return [place[index] * len(STEPS) // len(scored) for index in range(len(scored))]


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
            bars.append(_bars(name, rows))
    return bars


def _bars(name: str, rows: Sequence[tuple[str, Measurement, str]]) -> Bars:
    title = {
        "test_accuracy": "accuracy (%, test)",
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
