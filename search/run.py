"""A run from beginning to end: prepare, search, finish the front, report."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from results.candidate import Student
from results.report import write_report
from results.store import RunStore
from results.table import students_table, time_table
from search.config import SearchConfig, load_config
from search.display import Board, Display
from search.finals import choose_finalists, finish_all
from search.lock import run_lock
from search.plan import Plan
from search.preparation import Prepared, check_names, prepare
from search.ray_session import ray_session
from search.versions import installed_versions


def start_run(config: SearchConfig, console: Console) -> RunStore:
    """A new run of this configuration.

    Raises ``RunError`` when the run's folder exists, and ``UnderstudyError`` for whatever the user must mend;
    in that case a folder that holds no candidate is removed again.
    """
    check_names(config)
    store = RunStore.create(config.run_path)
    store.write_text("config.yaml", config.to_yaml())
    with run_lock(store.path):
        try:
            _carry_out(config, store, Display(console))
        except BaseException:
            _remove_if_empty(store)
            raise
    return store


def resume_run(path: Path, console: Console) -> RunStore:
    """Go on with a run: every finished candidate and student is kept, and the sampler knows them.

    Raises ``RunError`` when there is no run, or another process works on it.
    """
    store = RunStore.open(path)
    config = load_config(path / "config.yaml", {"runs": str(path.parent), "name": path.name})
    with run_lock(path):
        _carry_out(config, store, Display(console))
    return store


def _carry_out(config: SearchConfig, store: RunStore, display: Display) -> None:
    prepared = prepare(config, store, display)
    facts = {
        **prepared.facts,
        "versions": installed_versions(),
        "started": prepared.facts.get("started", _now()),
    }
    store.write_facts(facts)
    workers = config.workers or len(os.sched_getaffinity(0))
    with ray_session(config.ray_address, workers):
        ended_by = _search(prepared, store, display, workers)
        store.write_facts({**facts, "ended_by": ended_by})
        if ended_by == "interrupted":
            write_report(store)
            raise KeyboardInterrupt
        students = _finish(prepared.plan, store, display, workers)
    store.write_facts({**facts, "ended_by": ended_by, "ended": _now()})
    _tell(store, students, facts, display)


def _search(prepared: Prepared, store: RunStore, display: Display, workers: int) -> str:
    """Evaluate candidates until the configuration says enough; why it ended."""
    from search.proposer import Proposer
    from search.tuning import tune_candidates

    plan, config = prepared.plan, prepared.plan.config
    proposer = Proposer(
        plan.space(), store, config.objectives, config.budget, config.sampler, config.seed, config.trials
    )
    if len(proposer.candidates) >= config.trials:
        return "trials"
    board = Board(proposer.candidates, config.objectives, config.budget, config.trials, config.time_limit)
    with display.board(board) as show:
        return tune_candidates(plan, proposer, workers, lambda _: show())


def _finish(plan: Plan, store: RunStore, display: Display, workers: int) -> list[Student]:
    config = plan.config
    finalists = choose_finalists(store.candidates(), config.objectives, config.budget, config.finalists)
    if not finalists:
        display.note("No candidate is within the budget: raise a limit, or give the search more trials.")
        return []
    with display.stage("students of the front, fully taught") as advance:
        students = finish_all(plan, store, finalists, workers, advance, display.note)
    store.write_students(students)
    return students


def _tell(store: RunStore, students: Sequence[Student], facts: dict[str, Any], display: Display) -> None:
    """The end as people see it: the table, where the time went, the report and the next command."""
    with display.stage("report"):
        report = write_report(store)
    candidates = store.candidates()
    display.console.print(time_table(candidates))
    display.console.print(students_table(students, facts))
    _tell_fallen(students, display)
    display.note(f"Report: {report}")
    front = [student for student in students if student.on_front]
    if front:
        best = max(front, key=lambda student: student.measurements["accuracy"].value)
        display.note(f"Next: understudy deploy {store.path} --number {best.number} --to bundle/")


def _tell_fallen(students: Sequence[Student], display: Display) -> None:
    for student in students:
        if not student.on_front:
            display.note(f"Student #{student.number} is not on the front any more: {student.note}")


def _remove_if_empty(store: RunStore) -> None:
    """Take away the folder of a run that ended before its first candidate, so that its name is free again."""
    if not store.candidates():
        for path in store.path.iterdir():
            if path.is_file():
                path.unlink()
        if not any(store.path.iterdir()):
            store.path.rmdir()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
