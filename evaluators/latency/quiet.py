"""Keeping this project's own work off the cores while a latency is measured, across processes."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
    def quiet(self) -> Iterator[None]:
        """Around a measurement; waits until all work has paused, and keeps it paused. Not reentrant."""
        with _locked(self._turn, fcntl.LOCK_EX), _locked(self.path, fcntl.LOCK_EX):
            yield


@contextmanager
def _locked(path: Path, kind: int) -> Iterator[None]:
    descriptor = _open(path)
    try:
        fcntl.flock(descriptor, kind)
        yield
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
