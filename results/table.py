"""Tables of a run for the terminal."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping

from rich.table import Table

from results.candidate import Candidate, Student
from results.measurement import METRICS, Measurement
from results.units import format_time
from results.view import RunView

ABSENT = "–"


def front_table(view: RunView) -> Table:
    """The front of the candidates, with the figures that the search had."""
    table = Table(title=f"Front of {view.name}: {_count(view)}")
    figures = [*dict.fromkeys([*view.objectives, *view.budget.limits])]
    table.add_column("candidate", justify="right")
    for name in figures:
        table.add_column(METRICS[name].heading, justify="right")
    table.add_column("architecture", overflow="fold")
    for candidate in view.front:
        cells = [figure_text(candidate.measurements.get(name)) for name in figures]
        table.add_row(str(candidate.number), *cells, choice_text(candidate.choice))
    return table


def students_table(view: RunView) -> Table:
    """The finalists after full training beside their teacher; ``accuracy`` is on the test split."""
    table = Table(title=f"Students of {view.name}")
    for heading in ("", "test accuracy", "agreement", "latency", "of budget", "size", "peak memory", "note"):
        table.add_column(heading, justify="left" if heading in ("", "note") else "right")
    for student in view.students:
        table.add_row(*_student_row(student, view), style=None if student.on_front else "dim")
    if view.teacher is not None:
        figures = (view.teacher.accuracy, None, view.teacher.latency, None, view.teacher.size, None)
        table.add_section()
        table.add_row(f"teacher {view.teacher.name}", *map(figure_text, figures), "")
    return table


def stages_table(view: RunView) -> Table:
    """Where the time of the candidates went, by stage."""
    table = Table(title="Where the time went")
    for heading in ("stage", "total", "share", "median a candidate", "candidates"):
        table.add_column(heading, justify="left" if heading == "stage" else "right")
    spent = stage_seconds(view.candidates)
    total = sum(sum(seconds) for seconds in spent.values())
    for stage, seconds in spent.items():
        share = f"{100 * sum(seconds) / total:.1f} %" if total else ABSENT
        median = format_time(statistics.median(seconds))
        table.add_row(stage, format_time(sum(seconds)), share, median, str(len(seconds)))
    return table


def stage_seconds(candidates: Iterable[Candidate]) -> dict[str, list[float]]:
    """Seconds by stage, one entry a candidate that went through it, in the order of the stages."""
    spent: dict[str, list[float]] = {}
    for candidate in candidates:
        for stage, seconds in candidate.seconds.items():
            spent.setdefault(stage, []).append(seconds)
    return spent


def figure_text(figure: Measurement | None) -> str:
    """A figure for people; predicted and estimated ones are marked with a tilde."""
    if figure is None:
        return ABSENT
    return str(figure) if figure.source == "measured" else f"~{figure}"


def choice_text(choice: Mapping[str, object]) -> str:
    """A choice in one line."""
    return "  ".join(f"{name}={value}" for name, value in choice.items())


def _student_row(student: Student, view: RunView) -> list[str]:
    figures = student.measurements
    latency, limit = figures.get("latency"), view.budget.limits.get("latency")
    used = f"{100 * latency.value / limit:.0f} %" if latency is not None and limit is not None else ABSENT
    accuracy = figures.get("test_accuracy", figures.get("accuracy"))
    first = [figure_text(accuracy), figure_text(figures.get("agreement")), figure_text(latency), used]
    last = [figure_text(figures.get(name)) for name in ("size", "memory")]
    return [f"student {student.number}", *first, *last, student.note]


def _count(view: RunView) -> str:
    counts = Counter(candidate.state for candidate in view.candidates)
    parts = ", ".join(f"{count} {state}" for state, count in counts.items())
    return f"{len(view.front)} of {len(view.candidates)} candidates" + (f" ({parts})" if parts else "")
