"""What a client does on a board, in a child process of ours: find one, hold a session with it, run students there.

TVM's RPC client waits for its answers without a limit, in C++, so nothing of it runs where it cannot be killed.
A process holds one session at most. Losing it ends the process; what the board itself answers as an error of the
student is raised.
"""

from __future__ import annotations

import gc
import hashlib
import math
import os
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import tvm
from tvm import rpc
from tvm.rpc.base import RPC_SESS_MASK, RPC_TRACKER_MAGIC, TrackerCode, recvall, recvjson, sendjson
from tvm.runtime.vm import VirtualMachine

from evaluators.boards.address import BoardAddress, Tracker
from evaluators.boards.reference import SHAPE
from evaluators.boards.sampling import Samples, sample_in_turn
from evaluators.latency.race import Lap, race
from results.bundle.runner import LARGE, MAIN, Array

TRACKER_S = 5.0
"""Seconds within which a tracker that is there answers."""
_COPY = "runtime.TVMTensorCopyFromTo"
_COPIES = 100
_FILES = {
    "clock_khz": "/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq",
    "millidegrees": "/sys/class/thermal/thermal_zone0/temp",
}


@dataclass(frozen=True)
class Found:
    """A free board that the tracker gave to us alone: the address of its server and the word it expects."""

    host: str
    port: int
    word: str

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def listed(tracker: Tracker) -> list[tuple[str, str]]:
    """Key and address of every board that a tracker lists; raises ``OSError`` when no tracker answers."""
    with _greeted(tracker) as connection:
        sendjson(connection, [TrackerCode.SUMMARY])
        boards = recvjson(connection)[1]["server_info"]
    return sorted((board["key"].partition(":")[2], ":".join(map(str, board["addr"]))) for board in boards)


def find(address: BoardAddress, wait_s: float) -> Found | None:
    """A board that is free within so many seconds, or None; raises ``OSError`` when no tracker answers."""
    with _greeted(address.tracker) as connection:
        connection.settimeout(wait_s)
        sendjson(connection, [TrackerCode.REQUEST, address.key, "", 1])
        with suppress(TimeoutError):
            _, (host, port, word) = recvjson(connection)
            return Found(host, port, word)
    return None


@contextmanager
def _greeted(tracker: Tracker) -> Iterator[socket.socket]:
    """A connection to the tracker, on which every answer has a time limit."""
    with socket.create_connection((tracker.host, tracker.port), TRACKER_S) as connection:
        connection.sendall(struct.pack("<i", RPC_TRACKER_MAGIC))
        if struct.unpack("<i", recvall(connection, 4))[0] != RPC_TRACKER_MAGIC:
            raise OSError(f"what listens at {tracker} is no TVM tracker")
        yield connection


class _Student:
    """A compiled student loaded on the board: its arrays live there, on its GPU where it runs on one, and it is
    timed there. ``program`` is what is called, of several in its library."""

    def __init__(self, session: Any, library: bytes, name: str, on_gpu: bool) -> None:
        session.upload(bytearray(library), name)
        self._session, self._on_gpu = session, on_gpu
        self._host = session.cpu()
        self._device = session.cuda() if on_gpu else self._host
        self._machine = VirtualMachine(session.load_module(name), self._device)
        self._timers: dict[int, Any] = {}
        self._copying_s = 0.0
        self.program = MAIN

    def __call__(self, *inputs: Array) -> tuple[Array, ...]:
        """The outputs, fetched."""
        self._feed(inputs)
        return tuple(each.numpy() for each in self._outputs())

    def get_ready(self, inputs: Sequence[Array]) -> None:
        """Send the inputs, and time what the runner of bundles copies in a call with them.

        Those are inputs that are small, and on a GPU all inputs and outputs, there and back.
        """
        fed = self._feed(inputs)
        copied = [each for each in fed if self._on_gpu or _bytes(each) < LARGE]
        pairs = [(self._like(each), each) for each in copied]
        if self._on_gpu:
            pairs += [(each, self._like(each)) for each in self._outputs()]
        self._copying_s = sum(self._copy_seconds(*pair) for pair in pairs)

    def seconds(self, calls: int) -> float:
        """Of one call with the inputs sent last, the mean of so many; the runner's copies count since
        ``get_ready``, the way from and to this computer does not."""
        return self.network_seconds(calls) + self._copying_s

    def network_seconds(self, calls: int) -> float:
        """As ``seconds``, without the runner's copies, which are the same for all that compute the same."""
        if calls not in self._timers:
            self._timers[calls] = self._machine.time_evaluator("invoke_stateful", self._device, calls)
        return float(self._timers[calls](self.program).mean)

    def _feed(self, inputs: Sequence[Array]) -> list[Any]:
        tensors = [tvm.runtime.tensor(np.ascontiguousarray(each), self._device) for each in inputs]
        self._machine.set_input(self.program, *tensors)
        return tensors

    def _outputs(self) -> tuple[Any, ...]:
        self._machine.invoke_stateful(self.program)
        outputs = self._machine.get_outputs(self.program)
        return outputs if isinstance(outputs, tuple) else (outputs,)

    def _like(self, tensor: Any) -> Any:
        """An array of the board's processor, of the shape and dtype of another."""
        return tvm.runtime.empty(tensor.shape, tensor.dtype, self._host)

    def _copy_seconds(self, source: Any, target: Any) -> float:
        """Of a copy on the board, the mean of so many that the timer's grain does not matter.

        Timed is TVM's own copy, by TVM's own timer, which takes functions of no module as well.
        """
        device = self._device.dlpack_device_type() % RPC_SESS_MASK, self._device.index
        once = 1, 0, 0, 0, 1, 0, ""  # one sample, as it comes
        timer = self._session.get_function("runtime.RPCTimeEvaluator")(None, _COPY, *device, _COPIES, *once)
        return float(struct.unpack("@d", bytes(timer(source, target)))[0])


def _bytes(tensor: Any) -> int:
    size: int = math.prod(map(int, tensor.shape)) * np.dtype(tensor.dtype).itemsize
    return size


@dataclass
class _Held:
    """What this process holds: a session, and the students loaded in it by the hash of their library."""

    session: Any = None
    on_gpu: bool = False
    students: dict[str, _Student] = field(default_factory=dict)

    def student(self, library: Path, program: str = MAIN) -> _Student:
        """The student of a library, uploaded once a session, asked for one of its programs."""
        content, name = _named(library)
        if name not in self.students:
            self.students[name] = _Student(self.session, content, name, self.on_gpu)
        self.students[name].program = program
        return self.students[name]

    def module(self, library: Path) -> Any:
        """A library that is no student, loaded on the board."""
        content, name = _named(library)
        self.session.upload(bytearray(content), name)
        return self.session.load_module(name)


def _named(library: Path) -> tuple[bytes, str]:
    """A library and a name that no other has: a loader answers a name that it knows with what it has."""
    content = library.read_bytes()
    return content, f"{hashlib.sha256(content).hexdigest()[:16]}.so"


@lru_cache(maxsize=1)
def _held() -> _Held:
    return _Held()


def connect(board: Found, threads: int, session_s: float, on_gpu: bool) -> int:
    """Hold a session with a board, which itself ends it after so many seconds, whatever runs then.

    Students run on its GPU or on its processor.

    Returns how many threads its students will have: fewer than asked for where its pool is smaller. Raises
    ``RuntimeError`` when the board's server does not answer.
    """
    session = rpc.connect(board.host, board.port, board.word, session_timeout=session_s)
    session.get_function("runtime.config_threadpool")(1, threads)
    held = _held()
    held.session, held.on_gpu, held.students = session, on_gpu, {}
    return int(session.get_function("runtime.NumThreads")())


def disconnect() -> None:
    """Give the board back: its server ends a session when nothing here refers to it any more."""
    held = _held()
    held.students.clear()
    held.session = None
    gc.collect()


def run(library: Path, inputs: tuple[Array, ...], program: str) -> tuple[Array, ...]:
    """The outputs of a student's program on the board."""
    with connected() as held:
        return held.student(library, program)(*inputs)


def measure(
    library: Path, inputs: tuple[Array, ...], program: str, reference: Path, limit_s: float
) -> tuple[Samples, Mapping[str, float]]:
    """A student's program and the reference timed on the board in turn, and what the board tells of itself then.

    That is its clock (kHz) and temperature (thousandths of a degree), where its kernel has them.
    """
    with connected() as held:
        student, other = held.student(library, program), held.student(reference)
        student.get_ready(inputs)
        other.get_ready((np.zeros(SHAPE, np.float32),))
        return sample_in_turn(student.seconds, other.seconds, limit_s), _conditions(held.session)


def race_there(libraries: Sequence[Path], inputs: tuple[Array, ...]) -> list[Lap]:
    """Libraries that compute the same, timed on the board in turn."""
    with connected() as held:
        students = [held.student(library) for library in libraries]
        return race(students, inputs, lambda student, _, calls: student.network_seconds(calls))


def _conditions(session: Any) -> Mapping[str, float]:
    """What files of the board's kernel say: TVM's server lets any file be fetched."""
    told = {}
    for name, file in _FILES.items():
        with suppress(RuntimeError, ValueError):
            told[name] = float(bytes(session.download(file)).strip(b"\0\n"))
    return told


@contextmanager
def connected() -> Iterator[_Held]:
    """The session; an error after which it still answers is the student's, any other ends this process."""
    held = _held()
    try:
        yield held
    except Exception:
        try:
            held.session.get_function("runtime.NumThreads")()
        except Exception:  # of whatever kind: a client without its board has nothing left to do
            os._exit(1)
        raise
