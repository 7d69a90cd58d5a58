"""Keeping this project's own work off the cores while a latency is measured, across processes."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from understudy import MeasureError

WAIT_S = 100.0
"""Seconds that a measurement waits for others to pause: shorter than a search waits for its device."""

_LOOK_S = 0.005


class QuietCores:
    """A readers and writer gate on two lock files, fair to the writer.

    Work that disturbs (a training step, a compilation) shares ``path``; a measurement holds it alone. Whoever
    comes passes the turnstile ``path.turn`` first, and a measurement stays in the turnstile until the workers
    inside have left, so workers that come back at once cannot starve it. The locks are ``flock``s: the
    kernel releases them when a process dies. An uncontended ``working`` costs a few microseconds.

    An object may be pickled and sent to other processes of the same machine, and serves any number of
    threads: each use opens the files anew, as ``flock`` belongs to the open file.
    """

    @staticmethod
    def of_this_computer() -> QuietCores:
        """The gate that all runs of this user on this computer share, whatever folder they are in."""
        return QuietCores(Path(tempfile.gettempdir()) / f"understudy-{os.getuid()}.lock")

    def __init__(self, path: Path) -> None:
        self.path = path
        self._turn = path.with_name(path.name + ".turn")

    @contextmanager
    def working(self) -> Iterator[None]:
        """Around work that would disturb a measurement; waits while one is going on or about to."""
        with _locked(self._turn, fcntl.LOCK_SH):
            gate = _open(self.path)
            try:
                fcntl.flock(gate, fcntl.LOCK_SH)
            except BaseException:
                os.close(gate)
                raise
        try:
            yield
        finally:
            os.close(gate)

    @contextmanager
    def quiet(self, limit_s: float = WAIT_S) -> Iterator[None]:
        """Around a measurement; waits until all work has paused, and keeps it paused. Not reentrant.

        Raises ``BusyError`` when that takes longer than ``limit_s``: a process that is stopped, say, keeps its
        lock and never pauses.
        """
        end = time.monotonic() + limit_s
        with _locked(self._turn, fcntl.LOCK_EX, end), _locked(self.path, fcntl.LOCK_EX, end):
            yield


class BusyError(MeasureError):
    """Other work did not pause, so that nothing could be measured."""


@contextmanager
def _locked(path: Path, kind: int, end: float | None = None) -> Iterator[None]:
    descriptor = _open(path)
    try:
        _lock(descriptor, kind, end, path)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, kind: int, end: float | None, path: Path) -> None:
    """Take the lock until ``end`` (by ``time.monotonic``), looking again and again: flock knows no other limit."""
    if end is None:
        fcntl.flock(descriptor, kind)
        return
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= end:
                raise BusyError(
                    "nothing could be measured, since other work of Understudy on this computer did not pause: "
                    f"end the processes that hold {path} (`fuser {path}`), or try again when they are done"
                ) from None
        time.sleep(_LOOK_S)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
