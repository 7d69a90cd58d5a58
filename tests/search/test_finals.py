"""Which students are finished, and what is said of them once their final figures are known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from results.budget import Budget
from results.candidate import Candidate, Student
from results.measurement import Measurement
from results.store import RunStore
from search.finals import choose_finalists, compared, measured_again
from understudy import MeasureError

OBJECTIVES = ("accuracy", "latency")
BUDGET = Budget({"latency": 0.010})


def figures(accuracy: float, latency: float, high: float | None = None) -> dict[str, Measurement]:
    return {"accuracy": Measurement(accuracy, "share"), "latency": Measurement(latency, "s", high=high)}


def candidate(number: int, accuracy: float, latency: float) -> Candidate:
    return Candidate(number, {}, str(number), "done", measurements=figures(accuracy, latency))


def student(number: int, accuracy: float, latency: float, high: float | None = None) -> Student:
    preprocess = {"channels": 1, "size": 8}
    measured = figures(accuracy, latency, high)
    return Student(number, {}, str(number), measured, {}, True, "", {"library": "student.so"}, preprocess)


def test_finalists_are_those_the_front_would_miss_most():
    crowd = [
        candidate(0, 0.5, 0.001),
        candidate(1, 0.501, 0.0011),
        candidate(2, 0.9, 0.005),
        candidate(3, 0.4, 0.002),
    ]
    assert [final.number for final in choose_finalists(crowd, OBJECTIVES, BUDGET, 2)] == [0, 2]
    assert [final.number for final in choose_finalists(crowd, OBJECTIVES, BUDGET, 9)] == [0, 1, 2]


def test_students_off_the_front_say_why():
    students = [
        student(1, 0.90, 0.002),
        student(2, 0.80, 0.003),
        student(3, 0.95, 0.011),
        student(4, 0.96, 0.0099, high=0.0101),
    ]
    on_front = {each.number: (each.on_front, each.note) for each in compared(students, OBJECTIVES, BUDGET)}
    assert on_front[1] == (True, "")
    assert on_front[2] == (False, "fell off the front when fully taught: beaten by #1")
    assert on_front[3][1].startswith(
        "out of the budget when measured again: latency 11 ms over the limit of 10 ms"
    )
    assert on_front[4][1].startswith("too close to the limit to hold: latency 10.1 ms over the limit of 10 ms")


class Drifting:
    """A device that is slower every time it is asked, and has lost one student."""

    def __init__(self, lost: int) -> None:
        self.calls, self.lost = 0, lost

    def run(self, library, inputs):
        raise NotImplementedError

    def measure(self, library, inputs):
        self.calls += 1
        if self.calls % 2 == self.lost:
            raise MeasureError("gone")
        return Measurement(0.001 * self.calls, "s", low=0.0005 * self.calls, high=0.002 * self.calls)


def test_rounds_are_pooled_and_a_lost_student_keeps_its_latency(tmp_path: Path):
    notes: list[str] = []
    students = [student(1, 0.9, 0.004), replace(student(2, 0.8, 0.005))]
    again = measured_again(students, RunStore(tmp_path), Drifting(lost=0), notes.append)
    latency = again[0].measurements["latency"]
    assert (latency.value, latency.low, latency.high) == (0.003, 0.0015, 0.006)
    assert again[1].measurements["latency"].value == 0.005
    assert len(notes) == 3
