"""What the report says of teaching: by which method each student was taught, and what that bought it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from results.candidate import Student
from results.report.series import accuracy_title
from results.table import ABSENT, figure_text, gain_text
from results.view import RunView


@dataclass(frozen=True)
class TeachingSeries:
    """Validation accuracies, in per cent, of the candidates by the method that taught them, best median first.

    ``labels`` are those of the candidates, with the whole text of the method; ``height`` is the heading of
    the axis.
    """

    methods: tuple[str, ...]
    accuracies: tuple[tuple[float, ...], ...]
    labels: tuple[tuple[str, ...], ...]
    height: str


def teaching_series(view: RunView) -> TeachingSeries | None:
    """The candidates by method, or None where one method taught them all."""
    found: dict[str, list[tuple[float, str]]] = {}
    for each in view.candidates:
        if each.taught_by and "accuracy" in each.measurements and each.fidelity == 1:
            point = 100 * each.measurements["accuracy"].value, f"#{each.number}: {each.taught_by}"
            found.setdefault(each.taught_by.partition(":")[0], []).append(point)
    if len(found) < 2:
        return None
    ranked = sorted(found, key=lambda name: -statistics.median(value for value, _ in found[name]))
    return TeachingSeries(
        tuple(ranked),
        tuple(tuple(value for value, _ in found[name]) for name in ranked),
        tuple(tuple(label for _, label in found[name]) for name in ranked),
        accuracy_title(view, "validation"),
    )


def teaching_html(students: Sequence[Student]) -> str:
    """A table of the students' ways of teaching and of what they bought; empty where none is recorded."""
    if not any(student.taught_by for student in students):
        return ""
    heads = ("accuracy (test)", "alone (test)", "bought")
    head = "".join(f'<th class="number">{title}</th>' for title in heads)
    rows = "".join(_row(student) for student in students)
    table = f"<thead><tr><th></th><th>taught by</th>{head}</tr></thead><tbody>{rows}</tbody>"
    return f'<div class="wide"><table class="figures">{table}</table></div>'


def teaching_hint(students: Sequence[Student], inherited: bool = False) -> str:
    """What the table compares, or how to have it compared; ``inherited`` where students began in a supernet."""
    compared = any("scratch_accuracy" in student.measurements for student in students)
    if compared and inherited:
        return (
            "Bought, by supernet and teacher: what is gained on test over the same student trained alone "
            "from weights of its own for the whole schedule. One training each: a little may be chance."
        )
    if compared:
        return (
            "Bought: what is gained on test over the same student trained alone, from the same weights, same "
            "steps. One training each: a little may be chance."
        )
    return "`--compare-scratch` also trains each of them alone, and shows what the teacher bought."


def _row(student: Student) -> str:
    figures = student.measurements
    cells = (figure_text(figures.get("test_accuracy")), figure_text(figures.get("scratch_accuracy")))
    numbers = "".join(f'<td class="number">{escape(cell)}</td>' for cell in (*cells, gain_text(student) or ABSENT))
    spot = f'<tr data-spot="s{student.number}"><td>student #{student.number}</td>'
    return f'{spot}<td class="text">{escape(student.taught_by)}</td>{numbers}</tr>'
