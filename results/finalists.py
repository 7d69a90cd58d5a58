"""The students of a front compared once their final figures are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from results.budget import Budget
from results.candidate import Candidate, Student
from results.front import minimised, pareto_front
from results.goals import HALF_ACCURACY, Goal, Goals
from results.hypervolume import dominates
from results.measurement import Measurement, noise_floor


def compared(students: Sequence[Student], objectives: Sequence[str], budget: Budget) -> list[Student]:
    """The students with ``on_front`` and ``note`` as their final figures say, by number.

    A latency is within the budget only if its upper quartile is, so that the limit holds when the student is
    measured again. Figures that are closer than the noise of measuring are not called different: a student stays
    that no other beats by more.
    """
    finals = {student.number: _as_candidate(student) for student in students}
    within = [final for final in finals.values() if _surely_within(final, budget)]
    front = {final.number for final in pareto_front(within, objectives, budget)}
    equals = {final.number: _equals(final, within, front, objectives) for final in within}
    front |= {number for number, others in equals.items() if others}
    found = []
    for student in sorted(students, key=lambda student: student.number):
        standing = equals.get(student.number) or _note(student, finals, front, objectives, budget)
        note = "; ".join(filter(None, (standing, _precision(student))))
        found.append(replace(student, on_front=student.number in front, note=note))
    return found


def compared_on(students: Sequence[Student], goals: Goals) -> list[Student]:
    """The students of a record: ``on_front`` where they are on that of any target, a ``note`` for each target."""
    by_goal = [(goal, _numbered(compared_for(students, goal))) for goal in goals.each]
    found = []
    for student in sorted(students, key=lambda student: student.number):
        standings = [(goal, each[student.number]) for goal, each in by_goal]
        notes = [
            f"on {goal.target}: {each.note}" if goal.target else each.note for goal, each in standings if each.note
        ]
        on_front = any(each.on_front for _, each in standings)
        found.append(replace(student, on_front=on_front, note="; ".join(notes)))
    return found


def compared_for(students: Sequence[Student], goal: Goal) -> list[Student]:
    """The students with their figures, files and standing on the goal's target."""
    return compared([goal.seen(student) for student in students], goal.objectives, goal.budget)


def _equals(final: Candidate, within: Sequence[Candidate], front: set[int], objectives: Sequence[str]) -> str:
    """What to say of a student that others beat, none of them by more than the noise; else nothing."""
    point = minimised(final, objectives)
    points = [(other, minimised(other, objectives)) for other in within]
    better = [other for other, its in points if its != point and dominates(its, point)]
    if final.number in front or not better or any(_clearly_beats(other, final, objectives) for other in better):
        return ""
    names = ", ".join(f"#{other.number}" for other in better)
    return f"not told apart from {names}: they are closer than the noise of measuring"


def _clearly_beats(other: Candidate, final: Candidate, objectives: Sequence[str]) -> bool:
    """Whether a student that beats another does so by more than the noise, in one objective at least."""
    pairs = [(other.measurements[name], final.measurements[name]) for name in objectives]
    return any(
        abs(mine.value - its.value) > max(noise_floor(mine), noise_floor(its)) * its.value for mine, its in pairs
    )


def _numbered(students: Sequence[Student]) -> dict[int, Student]:
    return {student.number: student for student in students}


def _as_candidate(student: Student) -> Candidate:
    return Candidate(student.number, student.choice, student.key, "done", measurements=student.measurements)


def _surely_within(final: Candidate, budget: Budget) -> bool:
    return budget.violation(_upper(final)) is None


def _upper(final: Candidate) -> dict[str, Measurement]:
    """The figures at the upper end of their intervals; a prediction is taken at its word until it is confirmed."""
    return {
        name: replace(figure, value=figure.high or figure.value) if figure.source != "predicted" else figure
        for name, figure in final.measurements.items()
    }


def _note(
    student: Student, finals: dict[int, Candidate], front: set[int], objectives: Sequence[str], budget: Budget
) -> str:
    if student.number in front:
        return ""
    final = finals[student.number]
    broken = budget.violation(final.measurements)
    if broken:
        return f"out of the budget when measured again: {broken}"
    if not _surely_within(final, budget):
        return f"too close to the limit to hold: {budget.violation(_upper(final))} (upper quartile)"
    better = [other for number, other in finals.items() if number in front and _beats(other, final, objectives)]
    names = ", ".join(f"#{other.number}" for other in better)
    beaten = f"fell off the front when fully taught: beaten by {names} on validation"
    return beaten if names else "the same figures as another"


def _precision(student: Student) -> str:
    """What the student loses in float16, where its device computes in it."""
    half = student.measurements.get(HALF_ACCURACY)
    if half is None:
        return ""
    lost = round(100 * (student.measurements["accuracy"].value - half.value), 2)
    kept = f", so it is {half.conditions}" if half.conditions else ""
    return f"float16 costs {lost:.2f} points of accuracy on validation (simulated){kept}"


def _beats(other: Candidate, final: Candidate, objectives: Sequence[str]) -> bool:
    return len(pareto_front([other, final], objectives, Budget())) == 1
