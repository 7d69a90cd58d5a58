"""Time the compiled networks, and the kernels of those that are learnt from."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from evaluators.compile.kernel_times import Kernel, time_kernels
from evaluators.latency.others import ALONE, watch_others
from results.bundle.runner import CompiledStudent, measure_latency
from tests.benchmarks.latency_model.networks import device
from tests.benchmarks.latency_model.prepare import COMPILED, TIMED, append_line, read_lines

STEADY = 1.05
"""A figure counts where the reference took what it takes at best, within this factor, before and after it."""

TAKES = 4
"""Figures that count wanted of everything, of which the shorter is taken: other work on the machine only adds."""

TRIES = 16
_LIMIT_S, _REFERENCE_S = 0.2, 0.05

_BEST = 0.03
"""The share of the reference's timings that is at best, where the machine is slower most of the time."""

_WAIT_S = 5.0
"""So long is waited for the reference to take what it takes at best before something is timed all the same."""


def time_all(folder: Path, seconds: float, threads: int) -> bool:
    """Time networks of so many threads for so long; whether all of them are timed now.

    Each is timed between two timings of a reference, the first of its device, which tell how fast the machine is
    then. A process has one pool of threads, so that each number of threads takes a process of its own.
    """
    lines = [line for line in read_lines(folder / COMPILED) if device(line["candidate"][0]).threads == threads]
    end = time.monotonic() + seconds
    reference = _Reference(folder, lines)
    while left := _left(lines, read_lines(folder / TIMED)):
        timed = read_lines(folder / TIMED)
        known = Counter((line["candidate"][0], key) for line in counting(timed) for key in line["kernels"])
        for line in left:
            if time.monotonic() > end:
                return False
            append_line(folder / TIMED, _between(reference, folder, line, known))
    return True


def counting(timed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The timings during which nobody else used the machine and it was as fast as it can be."""
    best = {
        name: float(np.quantile([line["before"] for line in timed if line["candidate"][0] == name], 0.1))
        for name in {line["candidate"][0] for line in timed}
    }
    return [
        line
        for line in timed
        if max(line["before"], line["after"]) <= STEADY * best[line["candidate"][0]] and line["others"] <= ALONE
    ]


def _left(lines: list[dict[str, Any]], timed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is to be timed once more, that first which was timed least."""
    tries = Counter(tuple(line["candidate"]) for line in timed)
    done = Counter(tuple(line["candidate"]) for line in counting(timed))
    names = [tuple(line["candidate"]) for line in lines]
    left = [line for line, name in zip(lines, names, strict=True) if done[name] < TAKES and tries[name] < TRIES]
    return sorted(left, key=lambda line: done[tuple(line["candidate"])])


def _between(
    reference: _Reference, folder: Path, line: dict[str, Any], known: Counter[tuple[str, str]]
) -> dict[str, Any]:
    """A network timed between two timings of the reference."""
    with watch_others() as others:
        before = reference.at_best(line["candidate"][0])
        found = _timed(folder, line, known)
        after = reference.seconds(line["candidate"][0])
    return {**found, "before": before, "after": after, "others": others.cores}


class _Reference:
    """The first network of each device, timed again and again."""

    def __init__(self, folder: Path, lines: list[dict[str, Any]]) -> None:
        self._folder = folder
        self._lines = {line["candidate"][0]: line for line in reversed(lines)}
        self._students: dict[str, CompiledStudent] = {}
        self._seen: dict[str, list[float]] = {}

    def at_best(self, name: str) -> float:
        """Its seconds once it takes what it takes at best, or after some seconds of waiting for that."""
        end = time.monotonic() + _WAIT_S
        while time.monotonic() < end:
            now = self.seconds(name)
            if now <= STEADY * np.quantile(self._seen[name], _BEST):
                return now
        return self.seconds(name)

    def seconds(self, name: str) -> float:
        """Of a call of the device's reference, now."""
        line = self._lines[name]
        if name not in self._students:
            self._students[name] = CompiledStudent(self._folder / line["library"], device(name).threads)
        seconds = measure_latency(self._students[name], _zeros(line), _REFERENCE_S)["median_s"]
        self._seen.setdefault(name, []).append(seconds)
        return seconds


def _timed(folder: Path, line: dict[str, Any], known: Counter[tuple[str, str]]) -> dict[str, Any]:
    library = folder / line["library"]
    student = CompiledStudent(library, device(line["candidate"][0]).threads)
    figures = measure_latency(student, _zeros(line), _LIMIT_S)
    kernels: dict[str, float] = {}
    if line["candidate"][1] == "train":
        fresh = {
            facts["key"]: _kernel(kernel)
            for kernel, facts in zip(line["kernels"], line["facts"], strict=True)
            if known[line["candidate"][0], facts["key"]] < TAKES
        }
        kernels = dict(zip(fresh, time_kernels(library, list(fresh.values())), strict=True))
    return {"candidate": line["candidate"], "seconds": figures, "kernels": kernels}


def _zeros(line: dict[str, Any]) -> Any:
    shape, dtype = line["input"]
    return np.zeros(shape, dtype)


def _kernel(data: dict[str, Any]) -> Kernel:
    return Kernel(**{**data, "shapes": tuple(map(tuple, data["shapes"])), "dtypes": tuple(data["dtypes"])})
