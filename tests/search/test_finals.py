"""Which students are finished, and what is said of them once their final figures are known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from hw_profiles.profile import load_profile
from results.budget import Budget
from results.candidate import Candidate, Student
from results.finalists import compared, compared_on
from results.goals import Goal, Goals, facts_on, with_teacher_latency
from results.measurement import Measurement
from results.store import RunStore
from results.view import teacher_of
from search.confirmation import near_front
from search.finals import measured_again
from search.rounds import Entrant, measured_in_rounds
from understudy import DeviceLost, MeasureError

OBJECTIVES = ("accuracy", "latency")
BUDGET = Budget({"latency": 0.010})
PROFILE = load_profile("jetson-orin-nano")
GOALS = Goals((Goal("", OBJECTIVES, BUDGET),))


def figures(accuracy: float, latency: float, high: float | None = None) -> dict[str, Measurement]:
    return {"accuracy": Measurement(accuracy, "share"), "latency": Measurement(latency, "s", high=high)}


def candidate(number: int, accuracy: float, latency: float) -> Candidate:
    return Candidate(number, {}, str(number), "done", measurements=figures(accuracy, latency))


def student(number: int, accuracy: float, latency: float, high: float | None = None) -> Student:
    preprocess = {"channels": 1, "size": 8}
    measured = figures(accuracy, latency, high)
    return Student(number, {}, str(number), measured, {}, True, "", {"library": "student.so"}, preprocess)


def test_finalists_are_those_that_together_cover_most_of_the_front():
    crowd = [
        candidate(0, 0.5, 0.001),
        candidate(1, 0.501, 0.0011),
        candidate(2, 0.9, 0.005),
        candidate(3, 0.4, 0.002),
    ]
    assert [final.number for final in GOALS.finalists(crowd, 2)] == [0, 2]
    assert [final.number for final in GOALS.finalists(crowd, 9)] == [0, 1, 2]


def test_where_a_front_is_dense_one_goes_on():
    """Without any one of three that lie close together the front would lose next to nothing, without all much."""
    dense = [candidate(number, 0.80 + number / 100, 0.0030 + number / 10_000) for number in range(3)]
    apart = [candidate(3, 0.50, 0.001), candidate(4, 0.84, 0.005), candidate(5, 0.87, 0.008)]
    chosen = {final.number for final in GOALS.finalists([*dense, *apart], 3)}
    assert len(chosen & {0, 1, 2}) == 1


def test_with_several_targets_finalists_cover_the_fronts_of_all():
    goals = Goals(tuple(Goal(name, OBJECTIVES, BUDGET) for name in ("one", "two")))

    def of_both(number: int, accuracy: float, one: float, two: float) -> Candidate:
        seconds = {"latency@one": one, "latency@two": two}
        measured = {name: Measurement(value, "s") for name, value in seconds.items()}
        return Candidate(number, {}, str(number), "done", measurements=figures(accuracy, 1.0) | measured)

    both = [of_both(0, 0.5, 0.001, 0.02), of_both(1, 0.6, 0.02, 0.001), of_both(2, 0.55, 0.0011, 0.03)]
    assert [final.number for final in goals.finalists(both, 2)] == [1, 2]


def test_students_off_the_front_say_why():
    students = [
        student(1, 0.90, 0.002),
        student(2, 0.80, 0.003),
        student(3, 0.95, 0.011),
        student(4, 0.96, 0.0099, high=0.0101),
    ]
    on_front = {each.number: (each.on_front, each.note) for each in compared(students, OBJECTIVES, BUDGET)}
    assert on_front[1] == (True, "")
    assert on_front[2] == (False, "fell off the front when fully taught: beaten by #1 on validation")
    assert on_front[3][1].startswith(
        "out of the budget when measured again: latency 11 ms over the limit of 10 ms"
    )
    assert on_front[4][1].startswith("too close to the limit to hold: latency 10.1 ms over the limit of 10 ms")


def test_students_closer_than_the_noise_are_not_called_different():
    first, second, third = (
        replace(
            student(number, 0.9, latency),
            measurements={
                "accuracy": Measurement(0.9, "share"),
                "latency": Measurement(latency, "s", low=0.95 * latency, high=1.05 * latency),
            },
        )
        for number, latency in ((1, 0.00200), (2, 0.00204), (3, 0.00230))
    )
    found = compared([first, second, third], OBJECTIVES, BUDGET)
    assert [each.on_front for each in found] == [True, True, False]
    assert found[1].note == "not told apart from #1: they are closer than the noise of measuring"
    assert found[2].note.startswith("fell off the front when fully taught: beaten by #1")


def test_near_the_front_is_what_would_be_on_it_were_it_a_little_faster():
    on_it, near, far = candidate(0, 0.9, 0.0020), candidate(1, 0.9, 0.0021), candidate(2, 0.9, 0.0030)
    unsure = replace(
        candidate(3, 0.9, 0.0030),
        measurements={**figures(0.9, 0.0030), "latency": Measurement(0.003, "s", "predicted", 0.0015, 0.004)},
    )
    failed = replace(candidate(4, 0.95, 0.0021), state="failed")
    everyone = [on_it, near, far, unsure, failed]
    assert [each.number for each in near_front(everyone, GOALS.each[0], 8)] == [1, 3]
    assert [each.number for each in near_front(everyone, GOALS.each[0], 1)] == [1]


class Drifting:
    """A device that is slower every time it is asked, and has lost one student."""

    def __init__(self, lost: int | None = None) -> None:
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
    store, teacher = RunStore(tmp_path), Entrant("the teacher", tmp_path / "teacher.so", np.zeros((1, 1, 8, 8)))
    again, none = measured_again(students, PROFILE, GOALS.each[0], store, Drifting(lost=0), notes.append)
    latency = again[0].measurements["latency"]
    assert (latency.value, latency.low, latency.high) == (0.003, 0.0015, 0.006)
    assert again[1].measurements["latency"].value == 0.005
    assert notes == ["student #2 could not be measured again, its first latency stands: gone"]
    energy = again[0].measurements["energy"]
    assert (energy.unit, energy.source) == ("J", "estimated")
    assert energy.value == 0.003 * (PROFILE.active_w or 0)
    assert none is None
    beside, latency = measured_again(
        students[:1], PROFILE, GOALS.each[0], store, Drifting(), notes.append, teacher
    )
    assert [beside[0].measurements["latency"].value, latency.value] == [0.003, 0.004]
    facts = with_teacher_latency({"teacher": {"name": "big"}, "teacher_cost": {"size": 9}}, "", latency)
    assert teacher_of(facts).latency == latency
    two = with_teacher_latency({"targets": {"near": {}, "far": {}}}, "far", latency)
    assert teacher_of(facts_on(two, "far")).latency == latency
    assert teacher_of(facts_on(two, "near")) is None


def test_a_student_that_fails_in_one_round_has_the_others_and_a_lost_board_ends_them(tmp_path: Path):
    class Failing(Drifting):
        def measure(self, library, inputs):
            measured = super().measure(library, inputs)
            if self.calls in failures:
                raise failures[self.calls]
            return measured

    notes: list[str] = []
    entrants = [Entrant(name, tmp_path / name, np.zeros((1, 1, 8, 8))) for name in ("one", "two")]
    failures: dict[int, MeasureError] = {1: MeasureError("busy")}
    found = measured_in_rounds(entrants, Failing(), notes.append)
    assert [each.value for each in found] == [0.004, 0.004]
    assert notes == ["one could not be measured again, 2 of 3 rounds count: busy"]
    failures = {2: DeviceLost("no board answers")}
    first, second = measured_in_rounds(entrants, Failing(), notes.append)
    assert (first.value, second) == (0.001, None)
    assert notes[1:] == ["what was not yet measured again keeps its first latency: no board answers"]


def test_with_several_targets_a_student_stands_where_it_holds():
    near, far = (Goal(name, OBJECTIVES, BUDGET) for name in ("near", "far"))
    fast, slow = (
        replace(
            student(number, accuracy, 0.0),
            measurements={
                "accuracy": Measurement(accuracy, "share"),
                "latency@near": Measurement(at_near, "s"),
                "latency@far": Measurement(at_far, "s"),
            },
        )
        for number, accuracy, at_near, at_far in ((1, 0.9, 0.002, 0.009), (2, 0.95, 0.003, 0.02))
    )
    first, second = compared_on([fast, slow], Goals((near, far)))
    assert (first.on_front, first.note) == (True, "")
    assert second.on_front
    assert second.note.startswith("on far: out of the budget when measured again: latency 20 ms")
