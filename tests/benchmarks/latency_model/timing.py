"""Time the compiled networks, and the kernels of those that are learnt from."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from evaluators.compile.kernel_times import Kernel, time_kernels
from results.bundle.runner import CompiledStudent, measure_latency
from tests.benchmarks.latency_model.networks import device
from tests.benchmarks.latency_model.prepare import COMPILED, TIMED, append_line, read_lines

EVERY = 8
"""After so many networks the first of the device is timed again: how fast the machine is at the moment."""


def time_all(folder: Path, seconds: float, threads: int) -> bool:
    """Time networks of so many threads for so long; whether all of them are timed now.

    A process has one pool of threads, so that each number of threads takes a process of its own.
    """
    lines = [line for line in read_lines(folder / COMPILED) if device(line["candidate"][0]).threads == threads]
    timed = read_lines(folder / TIMED)
    done = {tuple(line["candidate"]) for line in timed if not line["reference"]}
    known = {(line["candidate"][0], key) for line in timed for key in line["kernels"]}
    end = time.monotonic() + seconds
    left = [line for line in lines if tuple(line["candidate"]) not in done]
    for number, line in enumerate(left):
        if time.monotonic() > end:
            return False
        first = next(each for each in lines if each["candidate"][0] == line["candidate"][0])
        if number % EVERY == 0:
            append_line(folder / TIMED, _timed(folder, first, set(), True))
        found = _timed(folder, line, known, False)
        known |= {(line["candidate"][0], key) for key in found["kernels"]}
        append_line(folder / TIMED, found)
    return True


def _timed(folder: Path, line: dict[str, Any], known: set[tuple[str, str]], reference: bool) -> dict[str, Any]:
    shape, dtype = line["input"]
    library = folder / line["library"]
    student = CompiledStudent(library, device(line["candidate"][0]).threads)
    figures = measure_latency(student, np.zeros(shape, dtype), 0.2)
    kernels: dict[str, float] = {}
    if line["candidate"][1] == "train" and not reference:
        fresh = {
            facts["key"]: _kernel(kernel)
            for kernel, facts in zip(line["kernels"], line["facts"], strict=True)
            if (line["candidate"][0], facts["key"]) not in known
        }
        kernels = dict(zip(fresh, time_kernels(library, list(fresh.values())), strict=True))
    return {"candidate": line["candidate"], "reference": reference, "seconds": figures, "kernels": kernels}


def _kernel(data: dict[str, Any]) -> Kernel:
    return Kernel(**{**data, "shapes": tuple(map(tuple, data["shapes"])), "dtypes": tuple(data["dtypes"])})
