"""A search on emulated boards, one of which is killed meanwhile; then `confirm`, `deploy` and `bench`."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from evaluators.boards import serve
from evaluators.boards.remote import listed
from results.store import RunStore
from results.view import teacher_of
from tests.board_processes import running_tracker, wait_until
from tests.emulation.machine import emulated_python
from tests.search.conftest import QUICK, call_here, command, environment

TRIALS = 3
OPTIONS = (
    *(*QUICK, "--max-latency", "20s", "--trials", str(TRIALS), "--workers", "2", "--sampler", "random"),
    *("--epochs", "1", "--final-epochs", "1", "--finalists", "1", "--profile", "rpi5", "--threads", "2"),
)
pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        emulated_python() is None, reason="no emulated machine: `make emulator` makes one (as root)"
    ),
]


def start(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        arguments, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


@pytest.fixture(scope="module")
def boards() -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """The address of two emulated boards, and their supervisors."""
    python, file = str(emulated_python()), str(Path(serve.__file__))
    with running_tracker() as tracker:
        processes = [start(python, file, "--key", "rpi5", "--tracker", str(tracker)) for _ in range(2)]
        wait_until(lambda: len(listed(tracker)) == 2)
        yield f"{tracker}:rpi5-emulated", processes
        for process in processes:
            kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    """A supervisor with its server, which ends when it finds itself alone."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_a_search_outlives_a_board_and_its_front_is_confirmed_deployed_and_run(workplace, boards):
    address, supervisors = boards
    run = workplace / "results" / "runs" / "boards"
    search = subprocess.Popen(
        command("search", *OPTIONS, "--board", address, "--name", "boards"), cwd=workplace, env=environment()
    )
    wait_until(lambda: search.poll() is not None or RunStore(run).candidates())
    kill(supervisors[0])
    assert search.wait(timeout=800) == 0

    store = RunStore.open(run)
    candidates = store.candidates()
    assert [candidate.number for candidate in candidates] == list(range(TRIALS))
    for candidate in candidates:
        assert candidate.state == "done", candidate.reason
        assert candidate.measurements["latency"].source == "emulated"
    assert store.facts()["board"] == address

    first = teacher_of(store.facts())
    confirmed = call_here(workplace, "confirm", str(run), "--board", address)
    assert confirmed.returncode == 0, confirmed.stdout + confirmed.stderr
    assert "measured on the board" in confirmed.stdout
    assert store.confirmed()
    again = teacher_of(store.facts()).latency
    assert again != first.latency
    assert again.source == "emulated"
    assert not (run / ".scratch" / "teacher").exists()

    bundle = workplace / "board-bundle"
    assert call_here(workplace, "deploy", str(run), "--to", str(bundle)).returncode == 0
    bench = call_here(workplace, "bench", str(bundle), "--board", address)
    assert bench.returncode == 0, bench.stderr
    assert "(emulated;" in bench.stdout
