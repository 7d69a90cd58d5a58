"""A tracker and boards as processes of this computer: TVM's own, without the torch that TVM would import there."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from evaluators.boards import serve
from evaluators.boards.address import Tracker
from evaluators.boards.remote import listed

START_S = 500.0
_WITHOUT_TORCH = "import sys; sys.modules['torch'] = None; "
_TRACKER = (
    "from tvm.rpc.tracker import PopenTrackerServerState as State; port = int(sys.argv[1]); "
    "State('127.0.0.1', port, port + 1, silent=True).thread.join()"
)
_SERVER = (
    "sys.path.insert(0, sys.argv[1]); from serve import _run_server; host, _, port = sys.argv[4].partition(':'); "
    "_run_server(sys.argv[2], int(sys.argv[3]), (host, int(port)))"
)


@contextmanager
def running_tracker() -> Iterator[Tracker]:
    """A tracker that answers and lists no board, until the context ends."""
    tracker = Tracker("127.0.0.1", free_port())
    process = _start(_TRACKER, str(tracker.port))
    try:
        wait_until(lambda: listed(tracker) == [])
        yield tracker
    finally:
        process.kill()
        process.wait()


def start_server(tracker: Tracker, key: str, port: int) -> subprocess.Popen[bytes]:
    """A board without a supervisor, which leads a group of processes: itself and its sessions."""
    return _start(_SERVER, str(Path(serve.__file__).parent), key, str(port), str(tracker))


def wait_until(holds: Callable[[], bool]) -> None:
    """Look again and again; a tracker that does not answer yet is no error."""
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        with suppress(OSError):
            if holds():
                return
        time.sleep(0.1)
    raise AssertionError("waited in vain: a tracker, a board or a search did not get there")


def free_port() -> int:
    """A port of this computer that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _start(program: str, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", _WITHOUT_TORCH + program, *arguments]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
