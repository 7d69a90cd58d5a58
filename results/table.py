"""Tables of a run for the terminal."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from results.budget import Budget
from results.candidate import TEACHING, Candidate, Student
from results.front import pareto_front
from results.measurement import METRICS, Measurement
from results.quantised import note_of
from results.units import format_time
from results.view import differing, goals, taught_of_front, teacher_of

ABSENT = "–"
_LONGEST = 200


def front_table(candidates: Sequence[Candidate], facts: Mapping[str, Any], target: str = "") -> Table:
    """The front of the candidates, with the figures that the search had: accuracy is on the validation split.

    ``target`` is that of the figures where the run has several.
    """
    objectives, budget = goals(facts)
    front = pareto_front(candidates, objectives, budget)
    counts = Counter(candidate.state for candidate in candidates)
    states = ", ".join(f"{count} {state}" for state, count in counts.items())
    title = f"The front{_on(target)}: {len(front)} of {len(candidates)} candidates" + (
        f" ({states})" if states else ""
    )
    table = Table(title=title, title_justify="left")
    table.add_column("candidate", justify="right")
    figures = list(dict.fromkeys([*objectives, *budget.limits]))
    for name in figures:
        table.add_column(_heading(name), justify="right", no_wrap=True)
    several = len({candidate.taught_by for candidate in candidates if candidate.taught_by}) > 1
    if several:
        table.add_column("taught by", overflow="fold")
    table.add_column("architecture", overflow="fold")
    shown = [name for name in differing([each.choice for each in front]) if not name.startswith(TEACHING)]
    for candidate in front:
        cells = [figure_text(candidate.measurements.get(name)) for name in figures]
        taught = [Text(candidate.taught_by)] if several else []
        table.add_row(f"#{candidate.number}", *cells, *taught, choice_text(candidate.choice, shown))
    return table


def candidates_table(candidates: Iterable[Candidate]) -> Table:
    """Every candidate with its state, reason, and the figures that any has."""
    candidates = list(candidates)
    metrics = [name for name in METRICS if any(name in each.measurements for each in candidates)]
    table = Table(title="Candidates", title_justify="left")
    for heading in ("candidate", *map(_heading, metrics)):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("state")
    table.add_column("reason", overflow="fold")
    for candidate in candidates:
        cells = [figure_text(candidate.measurements.get(name)) for name in metrics]
        table.add_row(f"#{candidate.number}", *cells, candidate.state, Text(candidate.reason))
    return table


def students_table(students: Iterable[Student], facts: Mapping[str, Any], target: str = "") -> Table:
    """The students, taught to the end, beside their teacher and its assistant.

    Accuracy and agreement, which is with the teacher itself, are on the test split.
    ``target`` is that of the figures where the run has several.
    """
    taught = taught_of_front(facts)
    part = (
        f": {taught[0]} of the {taught[1]} on the front of the search" if taught and taught[0] < taught[1] else ""
    )
    table = Table(title=f"Students after full training{part}{_on(target)}", title_justify="left")
    headings = ("test accuracy", "agreement", "latency", "of budget", "size", "peak memory")
    table.add_column("")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    students = list(students)
    compared = any(gain_text(student) for student in students)
    if compared:
        table.add_column("over itself alone", justify="right", no_wrap=True)
    table.add_column("taught by", overflow="fold")
    table.add_column("note", overflow="fold")
    _, budget = goals(facts)
    for student in students:
        gained = [gain_text(student) or ABSENT] if compared else []
        row = [*_student_row(student, budget), *gained, Text(student.taught_by), Text(note_of(student))]
        table.add_row(*row, style=None if student.on_front else "dim")
    teachers = {"teacher ": teacher_of(facts), "": teacher_of(facts, "assistant")}
    if any(teachers.values()):
        table.add_section()
    for role, teacher in teachers.items():
        if teacher is not None:
            figures = (teacher.accuracy, None, teacher.latency, None, teacher.size, None)
            table.add_row(Text(f"{role}{teacher.name}"), *map(figure_text, figures), "")
    return table


def time_table(candidates: Iterable[Candidate]) -> Table:
    """Where the time of the candidates went, by stage."""
    table = Table(title="Where the time went", title_justify="left")
    for heading in ("stage", "total", "share", "median a candidate", "candidates"):
        table.add_column(heading, justify="left" if heading == "stage" else "right")
    spent = stage_seconds(candidates)
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


def _on(target: str) -> str:
    return f" on {target}" if target else ""


def _heading(name: str) -> str:
    """The heading of a figure that the search had; it saw no test images."""
    heading = METRICS[name].heading
    return f"{heading} (validation)" if name == "accuracy" else heading


def figure_text(figure: Measurement | None) -> str:
    """A figure for people; predicted and estimated ones are marked with a tilde."""
    if figure is None:
        return ABSENT
    return str(figure) if figure.source == "measured" else f"~{figure}"


def gain_text(student: Student) -> str:
    """What teaching bought a student over itself trained alone, points of test accuracy, or the change of its
    perplexity; empty if not compared."""
    taught, alone = (student.measurements.get(name) for name in ("test_accuracy", "scratch_accuracy"))
    if taught is None or alone is None:
        return ""
    if taught.unit == "likelihood":
        return f"{1 / taught.value - 1 / alone.value:+.2f} of perplexity"
    return f"{100 * (taught.value - alone.value):+.2f} points"


def choice_text(choice: Mapping[str, object], names: Sequence[str]) -> Text:
    """The named parts of a choice in one line, cut off where it grows long."""
    text = Text("  ".join(f"{name}={choice[name]}" for name in names if name in choice))
    text.truncate(_LONGEST, overflow="ellipsis")
    return text


def _student_row(student: Student, budget: Budget) -> list[str | Text]:
    figures = student.measurements
    latency, limit = figures.get("latency"), budget.limits.get("latency")
    used = f"{100 * latency.value / limit:.0f} %" if latency is not None and limit is not None else ABSENT
    accuracy = figures.get("test_accuracy", figures.get("accuracy"))
    first = [figure_text(accuracy), figure_text(figures.get("agreement")), figure_text(latency), used]
    last = [figure_text(figures.get(name)) for name in ("size", "memory")]
    return [f"student #{student.number}", *first, *last]
