"""What the report says of each candidate and student when it is pointed at or clicked."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from results.candidate import TEACHING, Candidate, Student
from results.measurement import Measurement
from results.units import format_time
from results.view import RunView, TeacherFacts

Rows = tuple[tuple[str, str], ...]

_STATES = {"done": "evaluated", "infeasible": "over the budget", "pruned": "stopped early", "failed": "failed"}
_HEADINGS = {
    "accuracy": "accuracy (validation)",
    "test_accuracy": "accuracy (test)",
    "scratch_accuracy": "without the teacher (test)",
    "float_latency": "latency in float32",
    "float_size": "size in float32",
    "agreement": "agrees with the teacher",
    "latency": "latency",
    "first_token": "time to first token",
    "size": "size",
    "memory": "peak memory",
    "energy": "energy a call",
}


@dataclass(frozen=True)
class Detail:
    """A panel: its title, what it is in a few words, what went wrong, figures, architecture, how to deploy it."""

    title: str
    state: str
    note: str
    figures: Rows
    choice: Rows
    command: str


def details(view: RunView, run: Path) -> dict[str, Detail]:
    """By the label of a spot (``c12``, ``s12``, a teacher's or assistant's name), what there is to say of it."""
    front = {candidate.number for candidate in view.front}
    students = {student.number: student for student in view.students}
    commands = {number: deploy_command(run, number, view.target) for number in students}
    said = {
        f"c{each.number}": _candidate(each, each.number in front, commands.get(each.number, ""))
        for each in view.candidates
    }
    said |= {f"s{number}": _student(student, commands[number]) for number, student in students.items()}
    if view.teacher is not None:
        said[view.teacher.name] = _teacher(view.teacher, "the teacher")
    if view.assistant is not None:
        said[view.assistant.name] = _teacher(view.assistant, "the teacher's assistant, who taught the students")
    return said


def deploy_command(run: Path, number: int, target: str) -> str:
    """What to type to get the bundle of a student."""
    profile = f" --profile {shlex.quote(target)}" if target else ""
    return f"understudy deploy {shlex.quote(str(run))} --number {number}{profile} --to bundle/"


def _candidate(candidate: Candidate, on_front: bool, command: str) -> Detail:
    """``command`` deploys it where it is a finalist, and is empty where not."""
    state = "on the front of the search" if on_front else _STATES[candidate.state]
    state += "" if command or not on_front else "; not a finalist, so not to be deployed yet"
    spent = sum(candidate.seconds.values())
    figures = (
        _taught(candidate)
        + _figures(candidate.measurements)
        + ((("time spent", format_time(spent)),) if spent else ())
    )
    return Detail(
        f"Candidate #{candidate.number}", state, candidate.reason, figures, _choice(candidate.choice), command
    )


def _student(student: Student, command: str) -> Detail:
    state = "student of the front, taught to the end" if student.on_front else "taught to the end, off the front"
    figures = _taught(student) + _figures(student.measurements)
    return Detail(f"Student #{student.number}", state, student.note, figures, _choice(student.choice), command)


def _teacher(teacher: TeacherFacts, role: str) -> Detail:
    found = {
        "accuracy": teacher.val_accuracy,
        "test_accuracy": teacher.accuracy,
        "latency": teacher.latency,
        "size": teacher.size,
    }
    figures = _figures({name: figure for name, figure in found.items() if figure is not None})
    if teacher.parameters is not None:
        figures += (("parameters", f"{teacher.parameters:,}".replace(",", "\u202f")),)
    return Detail(teacher.name, role, "", figures, (), "")


def _figures(measurements: Mapping[str, Measurement]) -> Rows:
    return tuple((_HEADINGS[name], spread(measurements[name])) for name in _HEADINGS if name in measurements)


def _choice(choice: Mapping[str, object]) -> Rows:
    return tuple((name, str(value)) for name, value in choice.items() if not name.startswith(TEACHING))


def _taught(entry: Candidate | Student) -> Rows:
    return (("taught by", entry.taught_by),) if entry.taught_by else ()


def spread(figure: Measurement) -> str:
    """A figure with its quartiles, how it was obtained where that says something, and the conditions then."""
    text = str(figure)
    if figure.low is not None and figure.high is not None:
        low, high = (Measurement(end, figure.unit) for end in (figure.low, figure.high))
        text += f" ({low} to {high})"
    text = text if figure.source == "measured" else f"{text}, {figure.source}"
    return f"{text}; {figure.conditions}" if figure.conditions else text
