"""The text and tables of the report, as HTML."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from html import escape
from pathlib import Path

from results.candidate import Student
from results.measurement import METRICS, Measurement
from results.quantised import note_of
from results.report.details import spread
from results.report.importance import Importance
from results.table import figure_text
from results.units import format_time
from results.view import RunView, TeacherFacts, taught_of_front


def section_html(title: str, hint: str, content: str, name: str = "") -> str:
    """A card of the page; ``content`` is HTML, the rest plain text in which backticks set code."""
    marked = re.sub("`([^`]*)`", r"<code>\1</code>", escape(hint))
    note = f'<p class="hint">{marked}</p>' if hint else ""
    return f"<section{f' id={name!r}' if name else ''}><h2>{escape(title)}</h2>{note}{content}</section>"


def heading_html(view: RunView) -> str:
    """The name of the run and what came of it in one sentence."""
    return f'<header><h1>{escape(view.name)}</h1><p class="lead">{_outcome(view)}</p></header>'


def targets_html(view: RunView) -> str:
    """Links to the pages of the run's other targets, or nothing where it has one."""
    if len(view.targets) < 2:
        return ""
    links = (
        f"<strong>{escape(each)}</strong>"
        if each == view.target
        else f'<a href="{escape(report_name(each))}">{escape(each)}</a>'
        for each in view.targets
    )
    return f'<nav class="hint">Targets of this run: {" · ".join(links)}</nav>'


def report_name(target: str) -> str:
    """The file of a target's report."""
    return f"report-{target}.html" if target else "report.html"


def best_student(view: RunView) -> Student | None:
    """The most accurate student of the front."""
    kept = [student for student in view.students if student.on_front and "accuracy" in student.measurements]
    return max(kept, key=lambda student: student.measurements["accuracy"].value, default=None)


def _outcome(view: RunView) -> str:
    best = best_student(view)
    if best is not None:
        return _compared(view, best)
    if not view.candidates:
        return "No candidate has finished yet."
    if not view.front:
        return f"None of {len(view.candidates)} candidates so far is within the budget."
    leader = view.front[0].measurements
    first = view.objectives[0]
    heading = f"{view.metric} on the validation split" if first == "accuracy" else METRICS[first].heading
    state = "so far" if "ended" not in view.facts else "in all"
    return (
        f"{len(view.candidates)} candidates {state}, {len(view.front)} of them on the front; the best in "
        f"{heading} has <strong>{leader[first]}</strong>. No student is taught to the end yet."
    )


def _compared(view: RunView, best: Student) -> str:
    figures, teacher = best.measurements, view.teacher
    tested = "test_accuracy" in figures
    accuracy, split = figures["test_accuracy" if tested else "accuracy"], "test" if tested else "validation"
    shares = view.metric == "accuracy"
    verb = "answers" if shares else "reaches"
    of = f"of the {split} samples right" if shares else f"{view.metric} on the {split} split"
    if accuracy.unit == "likelihood":
        bits = -math.log2(accuracy.value) / float(view.facts["task"]["bytes_per_token"])
        of = f"a token on the {split} split, {bits:.3g} bits a byte,"
    text = f"Student #{best.number} {verb} <strong>{accuracy}</strong> {of}"
    if tested and teacher is not None and teacher.accuracy is not None:
        text += f" where the teacher, {escape(teacher.name)}, {verb} {teacher.accuracy}"
        if view.assistant is not None:
            text += f" and its assistant, {escape(view.assistant.name)}, who taught it, {view.assistant.accuracy}"
    if "latency" in figures:
        call = "token" if accuracy.unit == "likelihood" else "call"
        text += f", in <strong>{figure_text(figures['latency'])}</strong> a {call}"
        if teacher is not None and teacher.latency is not None:
            text += f" against {figure_text(teacher.latency)}: {_faster(figures['latency'], teacher.latency)}"
    return text + "."


def _faster(student: Measurement, teacher: Measurement) -> str:
    """How many times as fast the student is: at least that, by the quartiles, where both were measured."""
    if student.source != "measured" or teacher.source != "measured":
        guess = _count(teacher.value / student.value)
        return f"<strong>{guess} times</strong> as fast by estimate, not measured there"
    quick = teacher.value if teacher.low is None else teacher.low
    slow = student.value if student.high is None else student.high
    return f"at least <strong>{_count(quick / slow)} times</strong> as fast"


def _count(times: float) -> str:
    return f"{times:,.0f}" if times >= 100 else f"{times:.3g}"


def tiles_html(view: RunView) -> str:
    """The run in figures."""
    counts = Counter(candidate.state for candidate in view.candidates)
    states = ", ".join(f"{count} {state}" for state, count in counts.items())
    tiles = [
        (str(len(view.candidates)), f"candidates: {states}" if states else "candidates"),
        (str(len(view.front)), "on the front of the search"),
        (str(len(view.students)), f"students taught to the end{_of_front(view)}"),
    ]
    for name, limit in view.budget.limits.items():
        metric = METRICS[name]
        tiles.append((str(Measurement(limit, metric.unit)), f"budget on {metric.heading}"))
    elapsed = max((candidate.elapsed for candidate in view.candidates), default=0.0)
    if elapsed:
        tiles.append((format_time(elapsed), "of search"))
    inside = "".join(f"<div><b>{escape(value)}</b><span>{escape(what)}</span></div>" for value, what in tiles)
    return f'<section class="tiles">{inside}</section>'


def students_hint(view: RunView) -> str:
    """What the table of the students holds, and how many of the front are in it."""
    part = f", {len(view.students)}{_of_front(view)}" if _of_front(view) else ""
    return (
        f"Finalists{part}, taught to the end, compiled and measured again. Accuracy and agreement are on the test "
        "split, which the search never saw."
    )


def _of_front(view: RunView) -> str:
    """Of how many on the front the students are, where not all were taught."""
    taught, on_front = taught_of_front(view.facts) or (len(view.students), len(view.front))
    return f" of {on_front} on the front of the search" if taught < on_front else ""


_COLUMNS = (
    ("test_accuracy", "accuracy (test)"),
    ("scratch_accuracy", "without teacher (test)"),
    ("half_accuracy", "accuracy in float16 (validation)"),
    ("agreement", "agreement (test)"),
    ("latency", "latency"),
    ("first_token", "first token"),
    ("float_latency", "in float32"),
    ("size", "size"),
    ("float_size", "in float32"),
    ("memory", "peak memory"),
)


def students_html(view: RunView) -> str:
    """The finalists beside their teacher and its assistant; columns that nobody has a figure for are left out."""
    columns = [
        column for column in _COLUMNS if any(column[0] in student.measurements for student in view.students)
    ]
    heads = "".join(f'<th class="number">{title}</th>' for _, title in columns)
    rows = [_student_row(student, [name for name, _ in columns]) for student in view.students]
    for role, teacher in (("teacher ", view.teacher), ("", view.assistant)):
        if teacher is not None:
            rows.append(_teacher_row(role, teacher, [name for name, _ in columns]))
    head = f"<thead><tr><th></th>{heads}<th></th></tr></thead>"
    return f'<div class="wide"><table class="figures">{head}<tbody>{"".join(rows)}</tbody></table></div>'


def _student_row(student: Student, names: Sequence[str]) -> str:
    cells = "".join(_number(student.measurements.get(name)) for name in names)
    kind = "" if student.on_front else ' class="off"'
    note = f'<td class="text">{escape(note_of(student))}</td>'
    return f'<tr{kind} data-spot="s{student.number}"><td>student #{student.number}</td>{cells}{note}</tr>'


def _teacher_row(role: str, teacher: TeacherFacts, names: Sequence[str]) -> str:
    known = {"test_accuracy": teacher.accuracy, "latency": teacher.latency, "size": teacher.size}
    cells = "".join(_number(known.get(name)) for name in names)
    label = escape(teacher.name, quote=True)
    return f'<tr class="teacher" data-spot="{label}"><td>{role}{label}</td>{cells}<td></td></tr>'


def _number(figure: Measurement | None) -> str:
    hint = "" if figure is None or figure.low is None else f' title="{escape(spread(figure), quote=True)}"'
    return f'<td class="number"{hint}>{escape(figure_text(figure))}</td>'


def importance_note(found: Sequence[Importance]) -> str:
    """How far the importances can be trusted."""
    fits = " and ".join(
        f"{max(each.fit, 0):.0%} of the variation of {METRICS[each.metric].heading} over {each.count} candidates"
        for each in found
    )
    return (
        "An estimate: shares of impurity decrease in a random forest fitted to this run's candidates, which "
        f"foretells {fits} that it had not seen. The lower that figure, the less the bars mean."
    )


def left_out_html(view: RunView) -> str:
    """The candidates that did not get to the end, with their reasons, folded away."""
    left = [candidate for candidate in view.candidates if candidate.state != "done"]
    if not left:
        return ""
    rows = "".join(
        f'<tr data-spot="c{each.number}"><td>#{each.number}</td><td>{each.state}</td>'
        f'<td class="text">{escape(each.reason)}</td></tr>'
        for each in left
    )
    title = f"{len(left)} candidates that were not evaluated to the end"
    table = f'<div class="wide"><table class="figures">{rows}</table></div>'
    return f"<section><details><summary>{title}</summary>{table}</details></section>"


def configuration_html(view: RunView, run: Path) -> str:
    """The facts of the run and the configuration that starts it again."""
    limits = {name: str(Measurement(limit, METRICS[name].unit)) for name, limit in view.budget.limits.items()}
    profile = view.facts.get("profile", {})
    hardware = {name: profile[name] for name in ("name", "mcpu", "threads", "cores") if name in profile}
    known = {**view.facts, "budget": limits, "hardware": hardware}
    elsewhere = ("name", "teacher", "assistant", "teacher_cost", "profile")
    facts = {name: value for name, value in known.items() if name not in elsewhere and value not in (None, {}, [])}
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(_fact(value))}</td></tr>" for name, value in facts.items()
    )
    config = run / "config.yaml"
    text = config.read_text(encoding="utf-8") if config.is_file() else ""
    again = f"<pre>{escape(text)}</pre>" if text else ""
    inside = f'<div class="wide"><table class="facts">{rows}</table></div>{again}'
    return section_html(
        "Configuration", "`understudy search --config config.yaml --name NEW` runs it again.", inside
    )


def _fact(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_fact(part)}" for name, part in value.items())
    if isinstance(value, list):
        shown = ", ".join(_fact(part) for part in value[:12])
        return shown + (f", ... ({len(value)})" if len(value) > 12 else "")
    return value if isinstance(value, str) else json.dumps(value)
