"""SIGKILL at random moments: whatever was recorded stays, and the run goes on to its end."""

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
from tests.search.conftest import ENVIRONMENT, OPTIONS, call, command


def recorded(run: Path) -> list[bytes]:
    record = run / "candidates.jsonl"
    return record.read_bytes().split(b"\n")[:-1] if record.exists() else []


def start(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command(*arguments), cwd=folder, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def a_worker(search: subprocess.Popen[bytes]) -> psutil.Process:
    """One of the search's workers; between two candidates its process has another name."""
    while search.poll() is None:
        for child in psutil.Process(search.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if "Trainable" in " ".join(child.cmdline()):
                    return child
        time.sleep(0.1)
    raise AssertionError(f"the search ended with {search.returncode} before a worker was seen")


def wait_for(run: Path, count: int, process: subprocess.Popen[bytes]) -> None:
    """Until the record holds ``count`` candidates or the process has ended."""
    end = time.monotonic() + 200
    while len(recorded(run)) < count and process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)


@pytest.mark.timeout(600)
def test_killed_driver_loses_no_finished_candidate(workplace):
    run = workplace / "results" / "runs" / "killed"
    moments = random.Random(seed := random.randrange(10**6))
    print(f"kills at the moments of Random({seed})")
    kept: list[bytes] = []
    for kill in range(3):
        arguments = (
            ("resume", str(run)) if (run / "config.yaml").exists() else ("search", *OPTIONS, "--name", "killed")
        )
        process = start(workplace, *arguments)
        wait_for(run, len(kept) + 1, process)
        time.sleep(moments.uniform(0, 2))
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert recorded(run)[: len(kept)] == kept, f"kill {kill} changed what was recorded"
        kept = recorded(run)
    done = call(workplace, "resume", str(run))
    assert done.returncode == 0, done.stdout + done.stderr
    assert recorded(run)[: len(kept)] == kept
    candidates = RunStore.open(run).candidates()
    assert len(candidates) == len({candidate.key for candidate in candidates}) == 6
    assert RunStore.open(run).students()


@pytest.mark.timeout(300)
def test_killed_worker_costs_nothing(workplace):
    run = workplace / "results" / "runs" / "worker"
    process = start(workplace, "search", *OPTIONS, "--name", "worker")
    wait_for(run, 1, process)
    a_worker(process).kill()
    assert process.wait(timeout=280) == 0
    candidates = RunStore.open(run).candidates()
    assert [candidate.number for candidate in candidates] == list(range(6))
    assert all(candidate.state in ("done", "infeasible") for candidate in candidates)


@pytest.mark.timeout(300)
def test_ctrl_c_keeps_what_is_finished_and_says_how_to_go_on(workplace):
    run = workplace / "results" / "runs" / "stopped"
    process = subprocess.Popen(
        command("search", *OPTIONS, "--name", "stopped"),
        cwd=workplace,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(run, 2, process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert f"understudy resume {run.relative_to(workplace)}" in errors
    assert len(recorded(run)) >= 2
    assert (run / "report.html").is_file()
