"""The quiet gate across real processes."""

import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from evaluators.latency.quiet import BusyError, QuietCores

CONTEXT = multiprocessing.get_context("fork")


def work_on_end(gate: QuietCores, log: Path, rounds: int) -> None:
    for _ in range(rounds):
        with gate.working():
            start = time.monotonic()
            time.sleep(0.005)
            with log.open("a") as lines:
                lines.write(f"{start} {time.monotonic()}\n")


def hold(gate: QuietCores, quiet: bool, held: Any) -> None:
    with gate.quiet() if quiet else gate.working():
        held.set()
        time.sleep(60)


def start(target: Any, *arguments: Any) -> Any:
    process = CONTEXT.Process(target=target, args=arguments)
    process.start()
    return process


def test_nothing_works_while_it_is_quiet_and_workers_do_not_starve_it(tmp_path: Path) -> None:
    gate, log = QuietCores(tmp_path / "gate"), tmp_path / "log"
    workers = [start(work_on_end, gate, log, 60) for _ in range(3)]
    spans, waits = [], []
    for _ in range(5):
        time.sleep(0.02)
        asked = time.monotonic()
        with gate.quiet():
            begun = time.monotonic()
            time.sleep(0.02)
            spans.append((begun, time.monotonic()))
        waits.append(begun - asked)
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    worked = [tuple(map(float, line.split())) for line in log.read_text().splitlines()]
    assert len(worked) == 180
    assert not [1 for a, b in worked for begun, ended in spans if a < ended and b > begun]
    assert sorted(waits)[2] < 1


def test_workers_share(tmp_path: Path) -> None:
    gate = QuietCores(tmp_path / "gate")
    with gate.working():
        other = start(work_on_end, gate, tmp_path / "log", 1)
        other.join(20)
        assert other.exitcode == 0


def test_a_killed_holder_leaves_the_gate_open(tmp_path: Path) -> None:
    gate = QuietCores(tmp_path / "gate")
    for quiet in (False, True):
        held = CONTEXT.Event()
        process = start(hold, gate, quiet, held)
        assert held.wait(20)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        with gate.quiet(), (tmp_path / "reached").open("a") as reached:
            reached.write("x")
    assert (tmp_path / "reached").read_text() == "xx"


def test_a_measurement_does_not_wait_for_ever(tmp_path: Path) -> None:
    gate, held = QuietCores(tmp_path / "gate"), CONTEXT.Event()
    process = start(hold, gate, False, held)
    assert held.wait(20)
    with pytest.raises(BusyError, match=r"end the processes that hold .*gate"), gate.quiet(0.05):
        pytest.fail("measured while another works")
    process.kill()
    process.join()
    with gate.quiet(0.05):
        pass


def test_an_uncontended_step_costs_little(tmp_path: Path) -> None:
    gate, costs = QuietCores(tmp_path / "gate"), []
    for _ in range(300):
        begun = time.perf_counter()
        with gate.working():
            pass
        costs.append(time.perf_counter() - begun)
    assert min(costs) < 100e-6
