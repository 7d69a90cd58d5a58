"""A run from beginning to end: prepare, search, finish the front, report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Any

from rich.console import Console

from hw_profiles.host import usable_cores
from results.candidate import Candidate, Student
from results.goals import target_names, with_teacher_latency
from results.measurement import NOT_MEASURED
from results.report import write_report
from results.report.details import deploy_command
from results.store import RunStore
from results.supernet import supernet_sentences
from results.table import students_table, time_table
from results.view import read_view
from search.checks import check_names, check_supernet
from search.config import SearchConfig, load_config
from search.display import Board, Display
from search.finals import finish_all
from search.lock import run_lock
from search.plan import Plan
from search.preparation import prepare
from search.ray_session import ray_session
from search.versions import installed_versions
from understudy import RunError, UnderstudyError

if TYPE_CHECKING:
    from search.device_actor import Devices


def start_run(config: SearchConfig, console: Console) -> RunStore:
    """A new run of this configuration.

    Raises ``RunError`` when the run's folder exists or no student came of it, and ``UnderstudyError`` for
    whatever the user must mend; in that case a folder that holds no candidate is removed again.
    """
    config = config.anchored()
    check_names(config)
    check_supernet(config)
    store = RunStore.create(config.run_path)
    with run_lock(store.path):
        store.write_text("config.yaml", config.to_yaml())
        try:
            _carry_out(config, store, Display(console))
        except RunError:
            raise
        except UnderstudyError:
            _remove_if_empty(store)
            raise
    return store


def resume_run(path: Path, console: Console) -> RunStore:
    """Go on with a run: every finished candidate and student is kept, and the sampler knows them.

    Raises ``RunError`` when there is no run, when another process works on it, or when what its figures depend
    on has changed.
    """
    path = path.resolve()
    store = RunStore.open(path)
    config = load_config(path / "config.yaml", {"runs": str(path.parent), "name": path.name})
    with run_lock(path):
        _carry_out(config, store, Display(console))
    return store


def _carry_out(config: SearchConfig, store: RunStore, display: Display) -> None:
    cores = config.workers or usable_cores()
    if config.ray_address is not None:
        from search.nodes import check_nodes

        with display.stage("machines of the cluster"), ray_session(config.ray_address, cores):
            check_nodes(store.path, Path.cwd())
    prepared = prepare(config, store, display)
    began = store.facts().get("started", _now())
    facts = {**prepared.facts, "versions": installed_versions(), "started": began}
    store.write_facts(facts)
    with ray_session(config.ray_address, cores):
        from search.device_actor import start_devices
        from search.worker_process import cluster_cores

        workers = config.workers or cluster_cores()
        devices = start_devices(prepared.plan)
        plan = prepared.plan
        if config.supernet is not None:
            from search.supernet import with_supernet

            plan, facts["supernet"] = with_supernet(plan, devices, facts["origin"], workers, display)
        if config.rungs > 1:
            display.note(_rungs_sentence(plan))
        facts["ended_by"] = _search(plan, devices, store, display, workers)
        store.write_facts(facts)
        display.note(f"The search has ended: {facts['ended_by']}.")
        if facts["ended_by"] == "interrupted":
            write_report(store)
            raise KeyboardInterrupt
        students = _finish(plan, devices, store, facts, display, workers)
    store.write_facts({**facts, "ended": _now()})
    _tell(store, students, facts, display)


def _rungs_sentence(plan: Plan) -> str:
    if plan.trusted:
        return "note: no rungs: candidates are scored with the weights that they inherit, none is taught"
    *rungs, epochs = plan.rungs()
    if not rungs:
        return f"note: no rungs: candidates are taught for {epochs} epochs, which is too short to divide"
    return f"Candidates are compared after {' and '.join(map(str, rungs))} of {epochs} epochs; the best go on."


def _search(plan: Plan, devices: Devices, store: RunStore, display: Display, workers: int) -> str:
    """Evaluate candidates until the configuration says enough; why it ended."""
    from search.proposer import Proposer
    from search.tuning import tune_candidates
    from search.warm_start import earlier_candidates

    config, space = plan.config, plan.space()
    earlier = earlier_candidates(config.warm_start, space)
    proposer = Proposer(space, store, config.goals, config.sampler, config.seed, config.trials, elsewhere=earlier)
    if len(proposer.candidates) >= config.trials and not proposer.paused:
        rmtree(store.path / ".scratch" / "trainings", ignore_errors=True)
        return "trials"
    board = Board(proposer.candidates, config.goals, config.trials, config.time_limit, proposer.paused)
    with display.board(board) as show:
        return tune_candidates(plan, devices, proposer, workers, lambda _: show())


def _finish(
    plan: Plan, devices: Devices, store: RunStore, facts: dict[str, Any], display: Display, workers: int
) -> list[Student]:
    """The students of the front fully taught; ``facts`` learns how many of how many, and the teacher's latency."""
    config, candidates = plan.config, store.candidates()
    front = config.goals.front(candidates)
    finalists = config.goals.finalists(candidates, config.finalists)
    facts["finalists_of_front"] = [len(finalists), len(front)]
    if len(finalists) < len(front):
        display.note(f"Of {len(front)} students on the front, the {len(finalists)} that cover most of it go on.")
    if not finalists:
        return []
    with display.stage("students of the front, fully taught") as advance:
        students, teacher = finish_all(plan, devices, store, finalists, workers, advance, display.note)
    store.write_students(students)
    for target, latency in teacher.items():
        facts.update(with_teacher_latency(facts, target, latency))
    return students


def _tell(store: RunStore, students: Sequence[Student], facts: dict[str, Any], display: Display) -> None:
    """The end as people see it: the table, where the time went, the report and the next command."""
    with display.stage("report"):
        report = write_report(store)
    display.console.print(time_table(store.candidates()))
    for target in target_names(facts):
        view = read_view(store, target)
        display.console.print(students_table(view.students, view.facts, target))
    for sentence in supernet_sentences(facts, store.candidates())[1:]:
        display.note(sentence)
    _tell_fallen(students, display)
    _tell_unmeasured(store.candidates(), display)
    display.note(f"Report: {_shown(report)}")
    front = [student for student in students if student.on_front]
    if not front:
        raise RunError(_why_none(store.candidates(), students))
    best = max(front, key=lambda student: student.measurements["accuracy"].value)
    display.note(f"Next: {deploy_command(_shown(store.path), best.number, target_names(facts)[0])}")


def _tell_fallen(students: Sequence[Student], display: Display) -> None:
    for student in students:
        if not student.on_front:
            display.note(f"Student #{student.number} is not on the front any more: {student.note}")


def _tell_unmeasured(candidates: Sequence[Candidate], display: Display) -> None:
    """Say how many latencies are predictions because no board was there to measure them."""
    lost = [
        candidate.number
        for candidate in candidates
        if any(figure.conditions.startswith(NOT_MEASURED) for figure in candidate.measurements.values())
    ]
    if lost:
        names = ", ".join(f"#{number}" for number in lost)
        display.note(
            f"note: no board was there for {names}: these latencies are predicted (~); `understudy confirm` "
            "measures the front and what is near it"
        )


def _why_none(candidates: Sequence[Candidate], students: Sequence[Student]) -> str:
    """What to say when no student came of a search: the commonest reason, and what to do."""
    if students:
        return (
            "every student fell out of the budget when measured again: raise the limit, or resume with more trials"
        )
    reasons = Counter(candidate.reason for candidate in candidates if candidate.state == "failed")
    states = Counter(candidate.state for candidate in candidates)
    if states["failed"] > states["infeasible"]:
        commonest = reasons.most_common(1)[0][0]
        return f"no student came of it: {states['failed']} candidates failed, most with: {commonest}"
    return (
        f"no candidate is within the budget ({states['infeasible']} are over it): raise a limit, or give the "
        "search more trials"
    )


def _shown(path: Path) -> Path:
    """A path as a person would type it from here."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _remove_if_empty(store: RunStore) -> None:
    """Take away the folder of a run that ended before its first candidate, so that its name is free again.

    One with a supernet, be it half taught, is kept.
    """
    if not store.candidates() and not (store.path / "supernet").exists():
        rmtree(store.path / ".scratch", ignore_errors=True)
        for path in store.path.iterdir():
            if path.is_file():
                path.unlink()
        if not any(store.path.iterdir()):
            store.path.rmdir()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
