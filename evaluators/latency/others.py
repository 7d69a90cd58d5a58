"""Whether other processes used the processors while something was timed, from what Linux counts."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ALONE = 0.15
"""Share of a processor up to which other processes do not disturb a timing."""

_STAT = Path("/proc/stat")


@dataclass
class Others:
    """``cores``: how many processors' time other processes took, on average; 0 until the watch is over."""

    cores: float = 0.0


@contextmanager
def watch_others() -> Iterator[Others]:
    """Watch the processors meanwhile; where Linux does not say, nobody is seen.

    The kernel counts in ticks of 10 ms, so that a watch of 0.1 s is told to a tenth of a processor.
    """
    found = Others()
    start, others = time.perf_counter(), _busy_s() - _own_s()
    yield found
    others = _busy_s() - _own_s() - others
    found.cores = max(0.0, others / (time.perf_counter() - start))


def _busy_s() -> float:
    """Processor seconds of all processes since the start of the computer."""
    try:
        first = _STAT.read_text().split("\n", 1)[0].split()
    except OSError:
        return 0.0
    user, nice, system, _, _, interrupts, soft, *_ = map(int, first[1:])
    return (user + nice + system + interrupts + soft) / os.sysconf("SC_CLK_TCK")


def _own_s() -> float:
    own = resource.getrusage(resource.RUSAGE_SELF)
    return own.ru_utime + own.ru_stime
