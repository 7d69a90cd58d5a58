"""A compiled student in turn with another runtime on the same network: a ratio that drift cannot bend."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from results.bundle.runner import Bundle, Inputs, measure_latency, random_inputs
from understudy import BundleError

Run = Callable[..., Any]
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
        verdict = f"the compiled student is {'faster' if self.ratio < 1 else 'slower'}"
        if self.low <= 1 <= self.high:
            verdict = "no difference beyond the noise"
        return (
            f"in turn:   ours {1e3 * self.ours:.4g} ms, ONNX Runtime {1e3 * self.theirs:.4g} ms, ratio "
            f"{self.ratio:.2f} (quartiles {self.low:.2f} to {self.high:.2f}): {verdict}"
        )


def alternate(ours: Run, theirs: Run, inputs: Inputs, rounds: int = ROUNDS) -> Comparison:
    """Time one, then the other, ``rounds`` times; a round's ratio compares two neighbours in time."""
    times = np.array(
        [[measure_latency(run, inputs, ROUND_S)["median_s"] for run in (ours, theirs)] for _ in range(rounds)]
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
    names = [each.name for each in session.get_inputs()]
    return lambda *inputs: session.run(None, dict(zip(names, inputs, strict=True)))


def against_onnxruntime(bundle: Bundle) -> Comparison:
    """A bundle's student against ONNX Runtime on the bundle's own ONNX file, with the same threads."""
    file = bundle.folder / "student.onnx"
    if not file.is_file():
        raise BundleError(f"{bundle.folder} holds no student.onnx: its network could not be written as ONNX")
    theirs = onnxruntime_run(file, bundle.manifest["target"]["threads"])
    return alternate(bundle.student, theirs, random_inputs(bundle.manifest["inputs"]))
