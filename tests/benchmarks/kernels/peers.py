"""The runtimes that are compared: each takes a network and its input, and answers with something to call.

A maker gets ``(network, x, threads, folder)`` and returns ``(run, seconds)``: ``run`` maps a numpy input to a
numpy output, and ``seconds`` is what making it took. All of them answer in float32 and use as many threads.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

Run = Callable[[Any], Any]
Maker = Callable[[nn.Module, Tensor, int, Path], tuple[Run, float]]
OURS = "ours"
ONNXRUNTIME = "onnxruntime"


def ours(network: nn.Module, x: Tensor, threads: int, folder: Path) -> tuple[Run, float]:
    """Our compiler, as anyone would call it who has compiled nothing before."""
    from evaluators.compile.compiler import compile_network
    from evaluators.compile.objects import VARIABLE
    from hw_profiles.profile import load_profile
    from results.bundle.runner import CompiledStudent

    os.environ[VARIABLE] = ""
    profile = load_profile("x86-host").with_threads(threads)
    start = time.perf_counter()
    compiled = compile_network(network, x, profile, folder / "student.so")
    seconds = time.perf_counter() - start
    return CompiledStudent(compiled.library, threads), seconds


def onnxruntime(network: nn.Module, x: Tensor, threads: int, folder: Path) -> tuple[Run, float]:
    """ONNX Runtime with all its graph optimisations."""
    from evaluators.latency.against import onnxruntime_run

    path = _onnx(network, x, folder)
    start = time.perf_counter()
    run = onnxruntime_run(path, threads)
    return run, time.perf_counter() - start


def openvino(network: nn.Module, x: Tensor, threads: int, folder: Path) -> tuple[Run, float]:
    """OpenVINO for latency, in float32."""
    import openvino as ov

    path = _onnx(network, x, folder)
    start = time.perf_counter()
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": threads,
    }
    request = ov.Core().compile_model(path, "CPU", settings).create_infer_request()

    def run(values: Any) -> Any:
        return request.infer([values], share_inputs=True, share_outputs=True)[0]

    return run, time.perf_counter() - start


def torch_compile(network: nn.Module, x: Tensor, threads: int, folder: Path) -> tuple[Run, float]:
    """``torch.compile`` with weights frozen, so that they are folded and laid out once."""
    import torch._inductor.config

    torch.set_num_threads(threads)
    torch._inductor.config.freezing = True
    torch._inductor.config.compile_threads = 1
    compiled = torch.compile(network)

    def run(values: Any) -> Any:
        with torch.no_grad():
            return compiled(torch.from_numpy(values)).numpy()

    start = time.perf_counter()
    run(x.numpy())
    return run, time.perf_counter() - start


MAKERS: Mapping[str, Maker] = {
    OURS: ours,
    ONNXRUNTIME: onnxruntime,
    "openvino": openvino,
    "torch.compile": torch_compile,
}
PEERS = tuple(name for name in MAKERS if name != OURS)


def _onnx(network: nn.Module, x: Tensor, folder: Path) -> Path:
    path = folder / "network.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (x,), path, dynamo=True, verbose=False)
    return path
