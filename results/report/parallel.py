"""Plain data of the parallel coordinates: every scored candidate across its choices and figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from results.candidate import Candidate, Value
from results.measurement import METRICS, Measurement
from results.report.palette import STEPS
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
