"""The front of a run and what is near it, measured on boards: figures corrected, and what moved."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluators.boards.address import BoardAddress
from results.candidate import Candidate, Student
from results.finalists import compared_on
from results.front import pareto_front
from results.goals import LIBRARY, Goal, goal_on, goals_of, with_teacher_latency
from results.measurement import Measurement
from results.report import write_report
from results.store import RunStore
from search.config import SearchConfig
from search.display import Display
from search.finals import measured_again
from search.limits import LIMITS
from search.plan import Plan
from search.teacher_cost import forget_compiled_teacher, teacher_beside
from understudy import CompileError, DeviceLost, MeasureError

if TYPE_CHECKING:
    from evaluators.device import Device
    from evaluators.tasks.task import Task
    from evaluators.workbench import Workbench

SLACK = 0.1
"""A candidate is near the front when it would be on it, were it faster by this share (or by its interval)."""
NEIGHBOURS = 8


@dataclass(frozen=True)
class Moved:
    """A candidate before and after; ``number`` is the record's."""

    number: int
    earlier: Measurement
    measured: Measurement
    was_on_front: bool
    is_on_front: bool


@dataclass(frozen=True)
class Confirmation:
    """What came of measuring: by candidate; ``kept`` says whether the record holds the new figures."""

    moved: tuple[Moved, ...]
    kept: bool


def near_front(candidates: Sequence[Candidate], goal: Goal, most: int) -> list[Candidate]:
    """Candidates that are not on a goal's front, but may be: those that it would hold, were they alone faster.

    At most ``most``, the most accurate first.
    """
    front = goal.front(candidates)
    numbers = {candidate.number for candidate in front}
    shared = [candidate for candidate in candidates if candidate.number in numbers]
    near = []
    for candidate in candidates:
        if candidate.number not in numbers and goal.name("latency") in candidate.measurements:
            hopeful = goal.front([*shared, _faster(candidate, goal.name("latency"))])
            if candidate.number in {each.number for each in hopeful}:
                near.append(candidate)
    return sorted(near, key=lambda candidate: -candidate.measurements["accuracy"].value)[:most]


def _faster(candidate: Candidate, latency: str) -> Candidate:
    figure = candidate.measurements[latency]
    least = min(figure.value * (1 - SLACK), figure.value if figure.low is None else figure.low)
    return replace(candidate, measurements={**candidate.measurements, latency: Measurement(least, "s")})


def confirm(
    config: SearchConfig, store: RunStore, target: str, boards: BoardAddress, display: Display
) -> Confirmation:
    """Measure a run's students, its front on ``target`` and the candidates near it on boards.

    Students are compared with their ONNX files first, and the teacher is measured beside them; the others are
    built anew, not taught, and compared with torch. The record then has the new figures, and the standing of the
    students follows from them; but times of an emulated board take the place of nothing that is not one. Raises
    ``UnderstudyError``.
    """
    facts = store.facts()
    goal, candidates = goal_on(facts, target), store.candidates()
    plan, task = _plan(config, store, target, boards, display)
    wanted = [*goal.front(candidates), *map(goal.seen, near_front(candidates, goal, NEIGHBOURS))]
    with closing(plan.open_device(plan.profiles[0])) as device:
        with display.stage("students on the board"):
            students, teacher = _students(plan, task, store, goal, device, display.note)
        known = {student.number: goal.figures(student.measurements) for student in students}
        with display.stage("the front and its neighbours on the board") as advance:
            measured = _candidates(plan, wanted, known, device, advance, display.note)
    kept = not boards.emulated or all(each.measurements["latency"].source == "emulated" for each in wanted)
    if kept:
        store.write_confirmed(
            {number: {goal.name(name): each for name, each in found.items()} for number, found in measured.items()}
        )
        store.write_students(compared_on(students, goals_of(facts)))
        told = {target: {"board": str(boards), "when": datetime.now(UTC).isoformat(timespec="seconds")}}
        facts = with_teacher_latency(facts, target, teacher) if teacher else facts
        store.write_facts({**facts, "confirmed": {**facts.get("confirmed", {}), **told}})
        write_report(store)
    return Confirmation(tuple(_moved(candidates, wanted, measured, goal)), kept)


def _plan(
    config: SearchConfig, store: RunStore, target: str, boards: BoardAddress, display: Display
) -> tuple[Plan, Task]:
    """The run's plan, with the boards' profile as its only one and without limits, and its data."""
    from search.preparation import plan_of

    open_limits: dict[str, Any] = dict.fromkeys(LIMITS, ())
    profile = target or config.profile[0]
    alone = replace(config, profile=(profile,), board=(str(boards),), tune=None, **open_limits)
    return plan_of(alone, store, display)


def _students(
    plan: Plan, task: Task, store: RunStore, goal: Goal, device: Device, note: Callable[[str], None]
) -> tuple[list[Student], Measurement | None]:
    """The students measured on the device, and the latency of their teacher in the same rounds.

    One that is not its ONNX file there is a ``CompileError``.
    """
    from evaluators.compile.importers.network_file import open_network
    from evaluators.compile.verify import compare
    from results.bundle.runner import as_tuple, random_inputs

    students = store.students()
    for student in students:
        network = open_network((store.path / student.files["onnx"]).resolve(), {})
        inputs = random_inputs([spec.to_json() for spec in network.inputs])
        library = (store.path / student.files[goal.name(LIBRARY)]).resolve()
        compare(network.expected(as_tuple(inputs)), as_tuple(device.run(library, inputs)), network.tolerance)
    profile = plan.profiles[0]
    try:
        teacher = teacher_beside(plan, profile, goal, task, device, note) if students else None
        return measured_again(students, profile, goal, store, device, note, teacher)
    finally:
        forget_compiled_teacher(plan)


def _candidates(
    plan: Plan,
    wanted: Sequence[Candidate],
    known: Mapping[int, Mapping[str, Measurement]],
    device: Device,
    advance: Callable[[int, int], None],
    note: Callable[[str], None],
) -> dict[int, dict[str, Measurement]]:
    """What depends on time, by candidate and plain name: of its student where it has one, else measured now."""
    bench = plan.open([device])
    measured = {}
    for count, candidate in enumerate(wanted):
        advance(count, len(wanted))
        try:
            figures = known.get(candidate.number) or _cost(bench, candidate)
        except DeviceLost:
            raise
        except (CompileError, MeasureError) as error:
            note(f"candidate #{candidate.number} could not be measured, its earlier latency stands: {error}")
            continue
        measured[candidate.number] = {name: figures[name] for name in ("latency", "energy") if name in figures}
    return measured


def _cost(bench: Workbench, candidate: Candidate) -> Mapping[str, Measurement]:
    from evaluators.candidate import build_student, real_inputs
    from evaluators.cost import cost_of
    from evaluators.stages import Stages
    from spaces.choice import Choice

    choice = Choice(candidate.choice)
    network = build_student(bench, choice, candidate.number)
    with tempfile.TemporaryDirectory(prefix="understudy-") as folder:
        return cost_of(bench, network, real_inputs(bench, bench.space.resolution(choice)), Path(folder), Stages())


def _moved(
    candidates: Sequence[Candidate],
    wanted: Sequence[Candidate],
    measured: Mapping[int, Mapping[str, Measurement]],
    goal: Goal,
) -> Iterator[Moved]:
    """The measured candidates, and which of them are on the front now."""
    before = {candidate.number for candidate in goal.front(candidates)}
    corrected = [
        replace(each, measurements={**goal.seen(each).measurements, **measured.get(each.number, {})})
        for each in candidates
    ]
    after = {each.number for each in pareto_front(corrected, goal.objectives, goal.budget)}
    for each in sorted(wanted, key=lambda candidate: candidate.number):
        if each.number in measured:
            earlier, now = each.measurements["latency"], measured[each.number]["latency"]
            yield Moved(each.number, earlier, now, each.number in before, each.number in after)
