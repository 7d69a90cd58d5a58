"""One run killed at a random moment, stopped by Ctrl-C and robbed of a worker: what was recorded stays."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from results.store import RunStore
from tests.search.conftest import QUICK, command, environment

TRIALS = 12
OPTIONS = (
    *(*QUICK, "--workers", "2", "--sampler", "random", "--trials", str(TRIALS), "--rungs", "2"),
    *("--epochs", "2", "--final-epochs", "3", "--finalists", "1"),
)


def recorded(run: Path) -> list[bytes]:
    record = run / "candidates.jsonl"
    return record.read_bytes().split(b"\n")[:-1] if record.exists() else []


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(*arguments),
        cwd=folder,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def a_worker(search: subprocess.Popen[str]) -> psutil.Process:
    """One of the search's workers; between two candidates its process has another name."""
    while search.poll() is None:
        for child in psutil.Process(search.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if "Trainable" in " ".join(child.cmdline()):
                    return child
        time.sleep(0.1)
    raise AssertionError(f"the search ended with {search.returncode} before a worker was seen")


def wait_for(run: Path, count: int, process: subprocess.Popen[str]) -> None:
    """Until the record holds ``count`` candidates or the process has ended."""
    end = time.monotonic() + 500
    while len(recorded(run)) < count and process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)


@pytest.fixture(scope="module")
def killed(workplace) -> Path:
    """A run killed at a random moment after its first candidate."""
    moment = random.Random(seed := random.randrange(10**6)).uniform(0, 2)
    print(f"killed at the moment of Random({seed})")
    run = workplace / "results" / "runs" / "killed"
    process = start(workplace, "search", *OPTIONS, "--name", "killed")
    wait_for(run, 1, process)
    time.sleep(moment)
    process.kill()
    process.communicate()
    return run


@pytest.fixture(scope="module")
def stopped(killed, workplace) -> tuple[Path, str]:
    """The same run, resumed and stopped by Ctrl-C after its next candidate, and what it said then."""
    kept = recorded(killed)
    process = start(workplace, "resume", str(killed.relative_to(workplace)))
    wait_for(killed, len(kept) + 1, process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=500)
    assert process.returncode == 130, errors
    assert recorded(killed)[: len(kept)] == kept, "a resumed search changed what was recorded"
    return killed, errors


@pytest.mark.timeout(900)
def test_ctrl_c_keeps_what_is_finished_and_says_how_to_go_on(stopped, workplace):
    run, errors = stopped
    assert f"understudy resume {run.relative_to(workplace)}" in errors
    assert recorded(run)
    assert (run / "report.html").is_file()


@pytest.mark.timeout(900)
def test_killed_driver_and_killed_worker_lose_no_candidate(stopped, workplace):
    run, _ = stopped
    kept = recorded(run)
    before = {each.number for each in (*RunStore(run).candidates(), *RunStore(run).paused())}
    process = start(workplace, "resume", str(run))
    wait_for(run, len(kept) + 1, process)
    a_worker(process).kill()
    _, errors = process.communicate(timeout=500)
    assert process.returncode == 0, errors
    assert recorded(run)[: len(kept)] == kept
    store = RunStore.open(run)
    candidates = store.candidates()
    assert len(candidates) == len({candidate.key for candidate in candidates}) == TRIALS
    assert all(candidate.state in ("done", "infeasible", "pruned") for candidate in candidates)
    numbers = {candidate.number for candidate in candidates}
    assert before <= numbers, "a candidate that was paused is lost"
    new = sorted(numbers - before)
    assert not new or new == list(range(new[0], new[-1] + 1)), "the killed worker's candidate is lost"
    left = [path.name for path in (run / ".scratch").iterdir()]
    assert not [name for name in left if name.startswith(("trainings", "tune-"))], left
    assert store.students()
