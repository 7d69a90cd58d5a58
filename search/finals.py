"""The end of a search: the students of the front fully taught, side by side, and compared again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from results.budget import Budget
from results.candidate import Candidate, Student
from results.front import hypervolume_contributions, pareto_front
from results.store import RunStore
from search.device_actor import RemoteDevice, start_device
from search.plan import Plan
from understudy import UnderstudyError


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
    from ray.util import ActorPool

    chosen = {candidate.number for candidate in finalists}
    students = [student for student in store.students() if student.number in chosen]
    ready = {student.number for student in students}
    missing = [candidate for candidate in finalists if candidate.number not in ready]
    device = start_device(plan)
    pool = ActorPool([_start_worker(ray, plan, device, workers) for _ in range(min(workers, len(missing)))])
    outcomes = pool.map_unordered(
        lambda worker, candidate: worker.finish.remote(candidate, store.path.resolve()), missing
    )
    advance(len(ready), len(chosen))
    for student, problem in outcomes:
        if student is None:
            note(problem)
            continue
        students.append(student)
        store.write_students(compared(students, plan.config.objectives, plan.config.budget))
        advance(len(students), len(chosen))
    return compared(students, plan.config.objectives, plan.config.budget)


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


class _FinalWorker:
    """A process that finishes one student after the other."""

    def __init__(self, plan: Plan, device: RemoteDevice) -> None:
        from search.worker_process import torch_device_of_worker

        self._compare = plan.config.compare_scratch
        self._bench = plan.open(device, torch_device_of_worker())

    def finish(self, candidate: Candidate, run: Path) -> tuple[Student | None, str]:
        from evaluators.finalist import finish_student

        try:
            return finish_student(self._bench, candidate, run, self._compare), ""
        except UnderstudyError as error:
            return None, f"student #{candidate.number} could not be finished: {error}"


def _start_worker(ray: Any, plan: Plan, device: RemoteDevice, workers: int) -> Any:
    from search.worker_process import resources

    asked = resources(workers)
    options = {"num_cpus": asked["CPU"], "num_gpus": asked.get("GPU", 0), "max_restarts": 1, "max_task_retries": 1}
    return ray.remote(_FinalWorker).options(**options).remote(plan, device)


def _as_candidate(student: Student) -> Candidate:
    return Candidate(student.number, student.choice, student.key, "done", measurements=student.measurements)


def _surely_within(final: Candidate, budget: Budget) -> bool:
    upper = {
        name: replace(figure, value=figure.high or figure.value) for name, figure in final.measurements.items()
    }
    return budget.violation(upper) is None


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
        return "too close to the limit to hold when measured again"
    better = [other for number, other in finals.items() if number in front and _beats(other, final, objectives)]
    names = ", ".join(f"#{other.number}" for other in better)
    return f"fell off the front when fully taught: beaten by {names}" if names else "the same figures as another"


def _beats(other: Candidate, final: Candidate, objectives: Sequence[str]) -> bool:
    return len(pareto_front([other, final], objectives, Budget())) == 1
