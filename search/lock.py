"""One driver a run: a lock that the kernel releases when the driver dies."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from understudy import RunError


@contextmanager
def run_lock(run: Path) -> Iterator[None]:
    """Hold the run while inside; raises ``RunError`` when another process has it."""
    with (run / ".lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RunError(
                f"another process is working on {run}: wait for it to end, or stop it, then try again"
            ) from error
        yield
