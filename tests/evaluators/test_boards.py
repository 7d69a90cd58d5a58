"""Boards over TVM's own RPC: real trackers and servers on this computer, stopped and killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn
from tvm.rpc.client import LocalSession

from evaluators.boards import serve
from evaluators.boards.address import BoardAddress, Tracker, is_loopback
from evaluators.boards.device import BoardDevice
from evaluators.boards.facts import copy_facts
from evaluators.boards.remote import _Student, listed
from evaluators.boards.sampling import Samples, median_interval, sample_in_turn
from evaluators.compile.compiler import compile_network
from evaluators.compile.export import import_network
from evaluators.cost import Imported, cost_on
from evaluators.latency.predict.calibrate import calibrate
from evaluators.latency.predict.stopwatch import BoardStopwatch
from evaluators.latency.predict.store import LatencyStore
from evaluators.stages import Stages
from evaluators.target import Target
from hw_profiles.profile import Profile, load_profile
from results.budget import Budget
from results.candidate import Candidate
from results.goals import Goal
from results.measurement import Measurement
from results.report.details import details
from results.store import RunStore
from results.table import figure_text
from results.view import read_view
from search.cli.main import group
from tests.board_processes import free_port, running_tracker, start_server, wait_until
from understudy import ConfigError, DeviceLost, MeasureError, UnderstudyError

PROFILE = load_profile("x86-host").with_threads(1)
INPUT = np.random.default_rng(0).standard_normal((1, 3, 16, 16), np.float32)


class Boards:
    """Boards of one key, all of them processes of this computer, and clients of theirs."""

    def __init__(self, tracker: Tracker, key: str) -> None:
        self.address = BoardAddress(tracker, key)
        self.servers: list[subprocess.Popen[bytes]] = []
        self.devices: list[BoardDevice] = []

    def add(self) -> str:
        """Start one; its address once the tracker lists it."""
        port, tracker = free_port(), self.address.tracker
        self.servers.append(start_server(tracker, self.address.key, port))
        board = (self.address.key, f"127.0.0.1:{port}")
        wait_until(lambda: board in listed(tracker))
        return board[1]

    def add_supervised(self) -> None:
        """Start one as `understudy board serve` does."""
        command = [
            sys.executable,
            serve.__file__,
            "--key",
            self.address.key,
            "--tracker",
            str(self.address.tracker),
        ]
        self.servers.append(subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL))
        wait_until(lambda: self.address.key in dict(listed(self.address.tracker)))

    def device(self, wait_s: float = 60.0, call_s: float = 60.0, profile: Profile = PROFILE) -> BoardDevice:
        self.devices.append(BoardDevice(self.address, profile, limit_s=0.2, wait_s=wait_s, call_s=call_s))
        return self.devices[-1]

    def close(self) -> None:
        for device in self.devices:
            device.close()
        for server in self.servers:
            kill(server)


def kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture(scope="module")
def tracker() -> Iterator[Tracker]:
    with running_tracker() as tracker:
        yield tracker


@pytest.fixture
def boards(tracker, request) -> Iterator[Boards]:
    boards = Boards(tracker, re.sub(r"\W", "-", request.node.name))
    yield boards
    boards.close()


@pytest.fixture(scope="module")
def student(tmp_path_factory) -> tuple[Path, np.ndarray]:
    """A compiled network and what torch gives for ``INPUT``."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(392, 5)).eval()
    library = tmp_path_factory.mktemp("student") / "student.so"
    images = torch.from_numpy(INPUT)
    compile_network(network, (images,), PROFILE, library)
    return library, network(images).detach().numpy()


def test_a_board_gives_torchs_result_and_times_the_student_where_it_runs(boards, student):
    board = boards.add()
    library, expected = student
    device = boards.device()
    np.testing.assert_allclose(device.run(library, INPUT), expected, rtol=1e-4, atol=1e-6)
    latency = device.measure(library, INPUT)
    assert latency.source == "measured"
    assert latency.low <= latency.value <= latency.high
    assert latency.conditions.startswith(f"board {board}")
    first, second = device.race([library, library], INPUT)
    assert first.repeats >= 1
    assert first.median_s > 0
    assert not first.fault
    assert not second.fault
    with pytest.raises(MeasureError, match="cannot run the student"):
        device.run(library, INPUT[:, :, :8])
    np.testing.assert_allclose(device.run(library, INPUT), expected, rtol=1e-4, atol=1e-6)
    with device._pool.client() as client:  # as a call has it
        assert client.lease(60.0) == board
        with pytest.raises(DeviceLost, match=r"no board of .* was free within 1 s"):
            boards.device(wait_s=1.0).run(library, INPUT)
    np.testing.assert_allclose(boards.device().run(library, INPUT), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("on_gpu", [False, True])
def test_what_the_runner_copies_counts_on_a_board(student, on_gpu):
    """A processor stands in for the GPU, which is not here."""
    session = LocalSession()
    session.cuda = session.cpu
    library, expected = student
    there = _Student(session, library.read_bytes(), f"copied{on_gpu}.so", on_gpu)
    timed = []
    there._copy_seconds = lambda *pair: timed.append(pair) or 0.25
    there.get_ready((INPUT,))
    moved = [tuple(map(int, each.shape)) for each, _ in timed]
    assert moved == ([INPUT.shape, expected.shape] if on_gpu else [INPUT.shape])
    assert 0.25 * len(moved) < there.seconds(1) < 0.25 * len(moved) + 0.1
    assert there.network_seconds(1) < 0.1
    del there._copy_seconds
    there.get_ready((INPUT,))
    assert 0 < there._copying_s < 1e-3
    np.testing.assert_allclose(there(INPUT)[0], expected, rtol=1e-4, atol=1e-6)


def test_students_of_a_gpu_run_on_that_of_the_board(boards, tmp_path):
    from tests.benchmarks.cuda import WRONG, Card

    card = Card.at_hand()
    if card is None:
        pytest.skip("no NVIDIA GPU at hand")
    profile, library = card.profile(), tmp_path / "student.so"
    torch.manual_seed(0)
    network, images = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Flatten()).eval(), torch.from_numpy(INPUT)
    compile_network(network, (images,), profile, library)
    boards.add()
    device = boards.device(profile=profile)
    expected = network(images).detach().numpy()
    np.testing.assert_allclose(device.run(library, INPUT), expected, atol=WRONG * np.abs(expected).max())
    latency = device.measure(library, INPUT)
    assert latency.source == "measured"
    assert 0 < latency.value < 0.1


@pytest.mark.parametrize("fate", [signal.SIGKILL, signal.SIGSTOP], ids=lambda fate: fate.name)
def test_a_board_lost_while_it_is_ours_is_replaced_by_another(boards, student, fate):
    first, second = boards.add(), boards.add()
    library, expected = student
    device = boards.device(call_s=8.0)
    with device._pool.client() as client:  # as a call has it
        board = client.lease(60.0)
        os.killpg(boards.servers[[first, second].index(board)].pid, fate)
    np.testing.assert_allclose(device.run(library, INPUT), expected, rtol=1e-4, atol=1e-6)
    with device._pool.client() as client:
        assert {board, client.lease(60.0)} == {first, second}


def test_when_all_boards_are_lost_candidates_are_predicted_and_the_record_and_report_say_so(boards, tmp_path):
    boards.add()
    fallback = partial(LatencyStore(tmp_path / "latency.sqlite").predictor, PROFILE)
    images = torch.from_numpy(INPUT)
    goal = Goal("", ("accuracy", "latency"), Budget({"latency": 1.0}))
    target = Target(PROFILE, boards.device(wait_s=1.0), goal, fallback=fallback)
    store = RunStore.create(tmp_path / "run")
    store.write_text("config.yaml", "")
    store.write_facts({"objectives": list(goal.objectives), "budget": dict(goal.budget.limits)})

    def evaluate(number: int, target: Target) -> Measurement:
        network = nn.Sequential(nn.Conv2d(3, 4, 3 + number), nn.ReLU()).eval()
        module, expected = import_network(network, images), network(images).detach().numpy()
        library = tmp_path / f"student{number}.so"
        found = cost_on(target, [Imported(module, INPUT, expected)], library, nullcontext, Stages())
        assert goal.violation(found) is None
        measured = {**found, "accuracy": Measurement(0.5 + number / 10, "share")}
        store.append(Candidate(number, {}, str(number), "done", measurements=measured))
        return store.candidates()[-1].measurements["latency"]

    assert evaluate(0, target).source == "measured"
    kill(boards.servers[0])
    guess = evaluate(1, target)
    assert guess.source == "predicted"
    assert guess.low < guess.value < guess.high
    assert guess.conditions.startswith(f"not measured: no board of {boards.address} was free")
    said = dict(details(read_view(store), store.path)["c1"].figures)["latency"]
    assert f", predicted; {guess.conditions}" in said
    assert figure_text(guess).startswith("~")
    with pytest.raises(DeviceLost):
        evaluate(2, replace(target, fallback=None))


def test_without_a_tracker_the_device_is_lost_in_time(student):
    nowhere = Boards(Tracker("127.0.0.1", free_port()), "none")
    with pytest.raises(DeviceLost, match="tracker does not answer"):
        nowhere.device(wait_s=1.0).run(student[0], INPUT)
    nowhere.close()


def test_a_student_that_ends_its_sessions_is_at_fault_and_its_board_comes_back(boards, student, tmp_path):
    boards.add_supervised()
    library = tmp_path / "crash.so"
    source = "#include <stdlib.h>\n__attribute__((constructor)) static void end(void) { abort(); }\n"
    command = ["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(library)]
    subprocess.run(command, input=source.encode(), check=True)
    with pytest.raises(MeasureError, match="the student crashed or hung where it ran") as raised:
        boards.device().run(library, INPUT)
    assert not isinstance(raised.value, DeviceLost)
    np.testing.assert_allclose(boards.device().run(student[0], INPUT), student[1], rtol=1e-4, atol=1e-6)


def test_a_board_tells_what_it_is_and_how_fast_its_memory_is(boards, tmp_path, monkeypatch):
    boards.add_supervised()
    monkeypatch.setattr("evaluators.boards.facts._MOST_BYTES", 2**20)
    file = tmp_path / "mine.toml"
    done = CliRunner().invoke(
        group, ["profiles", "new", "mine", "--to", str(file), "--board", str(boards.address)]
    )
    assert done.exit_code == 0, done.output + str(done.exception)
    assert f"Next: understudy profiles show {file}" in done.output
    found, here = load_profile(str(file)), load_profile("x86-host")
    for fact in ("isa", "mcpu", "features", "clock_ghz", "l1d_bytes", "l2_bytes", "l3_bytes"):
        assert getattr(found, fact) == getattr(here, fact)
    assert found.memory_bandwidth > 1e8
    assert found.sources["memory_bandwidth"].startswith("measured: ")


def test_a_board_is_calibrated_over_rpc(boards, tmp_path):
    boards.add()
    device, store = boards.device(), LatencyStore(tmp_path / "latency.sqlite")
    modules = (
        import_network(nn.Sequential(nn.Conv2d(3, width, 3), nn.ReLU()).eval(), torch.from_numpy(INPUT))
        for width in (8, 16, 8)
    )
    done = calibrate(PROFILE, modules, 60.0, store, BoardStopwatch(device))
    assert (done.networks, done.kernels) == (1, len(store.keys(PROFILE)))
    assert done.kernels > 0
    with pytest.raises(MeasureError, match="say nothing of a device"):
        BoardStopwatch(BoardDevice(BoardAddress(boards.address.tracker, "x-emulated"), PROFILE))
    with pytest.raises(MeasureError, match="name a real board"):
        copy_facts(BoardAddress(boards.address.tracker, "x-emulated"), tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("serve", "--key", "pi", "--tracker", "10.0.0.2:9190"), "--ssh-tunnel user@computer"),
        (("serve", "--key", "a:b"), "without a colon"),
        (("serve", "--key", "pi", "--tracker", "nowhere"), "HOST:PORT"),
        (("tracker", "--host", "0.0.0.0"), "--i-trust-this-network"),
        (("list", "nowhere"), "HOST:PORT"),
    ],
)
def test_a_network_is_not_trusted_unless_said_so(options, message):
    error = CliRunner().invoke(group, ["board", *options]).exception
    assert isinstance(error, UnderstudyError)
    assert message in str(error)


def test_the_tunnel_forwards_the_tracker_here_and_the_server_there():
    server = serve.BoardServer("pi", ("127.0.0.1", 9190), "me@laptop")
    server.port = 4001
    command = " ".join(server._tunnel_command(4002))
    assert "-L 127.0.0.1:4002:127.0.0.1:9190 -R 127.0.0.1:4001:127.0.0.1:4001 me@laptop" in command
    assert "ExitOnForwardFailure=yes" in command


def test_samples_end_when_the_median_is_narrow():
    samples = sample_in_turn(lambda calls: 1e-3, lambda calls: 2e-3, limit_s=0.5)
    assert len(samples.student) == len(samples.reference) == 12
    low, high = median_interval(range(101))
    assert (low, high) == (40, 61)
    assert Samples((1.0,) * 6, (1.0, 1.0, 1.0, 1.0, 1.5, 1.5)).drift == 0.5


def test_addresses_are_checked():
    address = BoardAddress.parse("10.0.0.2:9190:rpi5-emulated")
    assert (address.tracker, address.key, address.emulated) == (Tracker("10.0.0.2", 9190), "rpi5-emulated", True)
    assert str(address) == "10.0.0.2:9190:rpi5-emulated"
    for wrong in ("rpi5", "10.0.0.2:9190", "10.0.0.2:9190:", ":9190:rpi5", "10.0.0.2:99999:rpi5"):
        with pytest.raises(ConfigError, match="is written"):
            BoardAddress.parse(wrong)
    assert is_loopback("127.0.0.1")
    assert is_loopback("localhost")
    assert not is_loopback("0.0.0.0")
