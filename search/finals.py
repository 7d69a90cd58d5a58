"""The end of a search: the students of the front fully taught, side by side, and compared again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from results.budget import Budget
from results.candidate import Candidate, Student
from results.front import hypervolume_contributions, pareto_front
from results.measurement import Measurement
from results.store import RunStore
from search.plan import Plan
from understudy import MeasureError, UnderstudyError

if TYPE_CHECKING:
    from evaluators.device import Device
    from evaluators.workbench import Workbench
    from search.device_actor import RemoteDevice

ROUNDS = 3


def choose_finalists(
    candidates: Sequence[Candidate], objectives: Sequence[str], budget: Budget, most: int
) -> list[Candidate]:
    """The students of the front, at most ``most``: those that the front's hypervolume would miss most."""
    front = pareto_front(candidates, objectives, budget)
    missed = hypervolume_contributions(front, objectives, budget)
    ranked = sorted(zip(missed, front, strict=True), key=lambda pair: (-pair[0], pair[1].number))
    return sorted((candidate for _, candidate in ranked[:most]), key=lambda candidate: candidate.number)


def finish_all(
    plan: Plan,
    store: RunStore,
    finalists: Sequence[Candidate],
    workers: int,
    advance: Callable[[int, int], None],
    note: Callable[[str], None],
) -> list[Student]:
    """Finish every finalist that the run does not hold yet, each written down as soon as it is ready.

    A finalist that fails is named with its reason and left out. Returns all finished students, compared.
    """
    import ray
    from ray.exceptions import RayError

    from search.device_actor import start_device
    from search.worker_process import resources

    chosen = {candidate.number for candidate in finalists}
    students = [student for student in store.students() if student.number in chosen]
    students = [
        student for student in students if all((store.path / file).exists() for file in student.files.values())
    ]
    ready = {student.number for student in students}
    asked = resources(workers)
    finish = ray.remote(_finish).options(num_cpus=asked["CPU"], num_gpus=asked.get("GPU", 0), max_retries=1)
    device = start_device(plan)
    waiting = [finish.remote(plan, device, final) for final in finalists if final.number not in ready]
    while waiting:
        advance(len(students), len(chosen))
        (reference, *_), waiting = ray.wait(waiting)
        try:
            student, problem = ray.get(reference)
        except RayError as error:
            student, problem = (
                None,
                f"a student of the front is left out: its worker died ({type(error).__name__})",
            )
        if student is None:
            note(problem)
            continue
        students.append(student)
        store.write_students(compared(students, plan.config.objectives, plan.config.budget))
    return compared(measured_again(students, store, device, note), plan.config.objectives, plan.config.budget)


def measured_again(
    students: Sequence[Student], store: RunStore, device: Device, note: Callable[[str], None]
) -> list[Student]:
    """The students with a latency of several rounds, one after the other and round by round.

    The workers are idle by now, and a student's rounds lie apart in time: a moment's disturbance widens the
    interval of a student instead of deciding its fate.
    """
    from evaluators.latency.host import pooled

    rounds: dict[int, list[Measurement]] = {student.number: [] for student in students}
    for student in list(students) * ROUNDS:
        library = store.path.resolve() / student.files["library"]
        try:
            rounds[student.number].append(device.measure(library, _input(student)))
        except MeasureError as error:
            note(f"student #{student.number} could not be measured again, its first latency stands: {error}")
    return [
        replace(student, measurements={**student.measurements, "latency": pooled(latencies)})
        if latencies
        else student
        for student, latencies in zip(students, rounds.values(), strict=True)
    ]


def _input(student: Student) -> NDArray[np.float32]:
    side = student.preprocess["size"]
    shape = (1, student.preprocess["channels"], side, side)
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def compared(students: Sequence[Student], objectives: Sequence[str], budget: Budget) -> list[Student]:
    """The students with ``on_front`` and ``note`` as their final figures say, by number.

    A latency is within the budget only if its upper quartile is, so that the limit holds when the student is
    measured again.
    """
    finals = {student.number: _as_candidate(student) for student in students}
    within = [final for final in finals.values() if _surely_within(final, budget)]
    front = {final.number for final in pareto_front(within, objectives, budget)}
    return [
        replace(student, on_front=student.number in front, note=_note(student, finals, front, objectives, budget))
        for student in sorted(students, key=lambda student: student.number)
    ]


def _finish(plan: Plan, device: RemoteDevice, candidate: Candidate) -> tuple[Student | None, str]:
    """One finalist, in a worker process; a fault of its own is answered in words."""
    from evaluators.finalist import finish_student

    try:
        bench = _bench(plan, device)
        return finish_student(bench, candidate, plan.run, plan.config.compare_scratch), ""
    except UnderstudyError as error:
        return None, f"student #{candidate.number} could not be finished: {error}"
    except Exception as error:  # one student's fault must not cost the others
        return None, f"student #{candidate.number} could not be finished: {type(error).__name__}: {error}"


@lru_cache(maxsize=1)
def _bench(plan: Plan, device: RemoteDevice) -> Workbench:
    """The workbench of this process, kept from one finalist to the next."""
    from search.worker_process import settle_worker

    return plan.open(device, settle_worker())


def _as_candidate(student: Student) -> Candidate:
    return Candidate(student.number, student.choice, student.key, "done", measurements=student.measurements)


def _surely_within(final: Candidate, budget: Budget) -> bool:
    return budget.violation(_upper(final)) is None


def _upper(final: Candidate) -> dict[str, Measurement]:
    """The figures at the upper end of their intervals."""
    return {
        name: replace(figure, value=figure.high or figure.value) for name, figure in final.measurements.items()
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
    return f"fell off the front when fully taught: beaten by {names}" if names else "the same figures as another"


def _beats(other: Candidate, final: Candidate, objectives: Sequence[str]) -> bool:
    return len(pareto_front([other, final], objectives, Budget())) == 1
