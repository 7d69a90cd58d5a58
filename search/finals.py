"""The end of a search: the students of the front fully taught, side by side, and compared again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from results.bundle.manifest import input_specs
from results.bundle.runner import Inputs, random_inputs
from results.candidate import Candidate, Student
from results.finalists import compared_on
from results.goals import LIBRARY, Goal
from results.measurement import Measurement
from results.store import RunStore
from search.plan import Plan
from search.rounds import Entrant, measured_in_rounds
from search.teacher_cost import compiled_teacher, forget_compiled_teacher
from understudy import UnderstudyError

if TYPE_CHECKING:
    from evaluators.device import Device
    from evaluators.workbench import Workbench
    from hw_profiles.profile import Profile
    from search.device_actor import Devices


def finish_all(
    plan: Plan,
    devices: Devices,
    store: RunStore,
    finalists: Sequence[Candidate],
    workers: int,
    advance: Callable[[int, int], None],
    note: Callable[[str], None],
) -> tuple[list[Student], Mapping[str, Measurement]]:
    """Finish every finalist that the run does not hold yet, each written down as soon as it is ready.

    A finalist that fails is named with its reason and left out. Returns all finished students, compared, and the
    teacher's latency as measured beside them, by target.
    """
    import ray
    from ray.exceptions import RayError

    from search.worker_process import resources

    chosen = {candidate.number for candidate in finalists}
    students = [student for student in store.students() if student.number in chosen]
    students = [
        student for student in students if all((store.path / file).exists() for file in student.files.values())
    ]
    ready = {student.number for student in students}
    asked = resources(workers)
    finish = ray.remote(_finish).options(num_cpus=asked["CPU"], num_gpus=asked.get("GPU", 0), max_retries=1)
    goals = plan.config.goals
    waiting = [finish.remote(plan, devices, final) for final in finalists if final.number not in ready]
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
        store.write_students(compared_on(students, goals))
    teacher: dict[str, Measurement] = {}
    for profile, goal, device in zip(plan.profiles, goals.each, devices, strict=True):
        if device is not None:
            beside = compiled_teacher(plan, goal)
            students, latency = measured_again(students, profile, goal, store, device, note, beside)
            if latency is not None:
                teacher[goal.target] = latency
    forget_compiled_teacher(plan)
    return compared_on(students, goals), teacher


def measured_again(
    students: Sequence[Student],
    profile: Profile,
    goal: Goal,
    store: RunStore,
    device: Device,
    note: Callable[[str], None],
    teacher: Entrant | None = None,
) -> tuple[list[Student], Measurement | None]:
    """The students with their latency on a goal's target, and that of the teacher, taken in the same rounds.

    The workers are idle by now. What could not be measured keeps its first latency (None: the teacher).
    """
    libraries = [store.path.resolve() / student.files[goal.name(LIBRARY)] for student in students]
    entrants = [
        Entrant(f"student #{student.number}", library, _inputs(student))
        for student, library in zip(students, libraries, strict=True)
    ]
    beside = [] if teacher is None or not students else [teacher]
    found = measured_in_rounds(entrants + beside, device, note)
    again = [
        _remeasured(student, latency, profile, goal)
        for student, latency in zip(students, found[: len(students)], strict=True)
    ]
    return again, found[-1] if beside else None


def _remeasured(student: Student, latency: Measurement | None, profile: Profile, goal: Goal) -> Student:
    from evaluators.cost import energy_of

    if latency is None:
        return student
    found = {"latency": latency, **energy_of(latency, profile)}
    named = {goal.name(metric): figure for metric, figure in found.items()}
    return replace(student, measurements={**student.measurements, **named})


def _inputs(student: Student) -> Inputs:
    return random_inputs(input_specs(student.preprocess))


def _finish(plan: Plan, devices: Devices, candidate: Candidate) -> tuple[Student | None, str]:
    """One finalist, in a worker process; a fault of its own is answered in words."""
    from evaluators.finalist import finish_student

    try:
        bench = _bench(plan, devices)
        return finish_student(bench, candidate, plan.run, plan.config.compare_scratch), ""
    except UnderstudyError as error:
        return None, f"student #{candidate.number} could not be finished: {error}"
    except Exception as error:  # one student's fault must not cost the others
        return None, f"student #{candidate.number} could not be finished: {type(error).__name__}: {error}"


@lru_cache(maxsize=1)
def _bench(plan: Plan, devices: Devices) -> Workbench:
    """The workbench of this process, kept from one finalist to the next."""
    from search.worker_process import settle_worker

    return plan.open(devices, settle_worker(), outlive_boards=True)
