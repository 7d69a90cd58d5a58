"""A compiled student in turn with another runtime on the same network: a ratio that drift cannot bend."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from results.bundle.runner import Bundle, measure_latency

Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]
ROUNDS = 15
ROUND_S = 0.1


@dataclass(frozen=True)
class Comparison:
    """Median seconds of ours and theirs over the rounds, and the ratio ours / theirs with its quartiles."""

    ours: float
    theirs: float
    ratio: float
    low: float
    high: float

    def __str__(self) -> str:
        faster = "faster" if self.ratio < 1 else "slower"
        return (
            f"in turn:   ours {1e3 * self.ours:.4g} ms, ONNX Runtime {1e3 * self.theirs:.4g} ms, ratio "
            f"{self.ratio:.2f} (quartiles {self.low:.2f} to {self.high:.2f}): the compiled student is {faster}"
        )


def alternate(ours: Run, theirs: Run, x: NDArray[np.float32], rounds: int = ROUNDS) -> Comparison:
    """Time one, then the other, ``rounds`` times; a round's ratio compares two neighbours in time."""
    times = np.array(
        [[measure_latency(run, x, ROUND_S)["median_s"] for run in (ours, theirs)] for _ in range(rounds)]
    )
    low, ratio, high = np.quantile(times[:, 0] / times[:, 1], (0.25, 0.5, 0.75))
    mine, other = np.median(times, axis=0)
    return Comparison(float(mine), float(other), float(ratio), float(low), float(high))


def onnxruntime_run(model: Path, threads: int) -> Run:
    """The network of an ONNX file under ONNX Runtime, all its graph optimisations on, on so many threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session: Any = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda x: session.run(None, {name: x})[0]


def against_onnxruntime(bundle: Bundle) -> Comparison:
    """A bundle's student against ONNX Runtime on the bundle's own ONNX file, with the same threads."""
    shape = bundle.manifest["input"]["shape"]
    x = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    theirs = onnxruntime_run(bundle.folder / "student.onnx", bundle.manifest["target"]["threads"])
    return alternate(bundle.student, theirs, x)
