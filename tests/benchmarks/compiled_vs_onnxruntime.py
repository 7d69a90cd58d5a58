"""Latency of compiled students against ONNX Runtime, alternately timed on the same network and input.

    python -m tests.benchmarks.compiled_vs_onnxruntime [--rounds 15] [--threads 1 2] [--large]

Each round times one, then the other; the ratio of a round compares two neighbours in time, so slow drifts of a
shared machine cancel. Printed are medians, and the ratio's median with its quartiles (below 1: ours is faster).
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import tempfile
import time
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hw_profiles.profile import load_profile
from results.bundle.runner import CompiledStudent, measure_latency


class InvertedResidual(nn.Module):
    """Expand, depthwise, project, as in MobileNetV2 (Sandler et al., 2018)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.layers = nn.Sequential(
            *_convolution(inputs, hidden, 1),
            nn.ReLU6(),
            *_convolution(hidden, hidden, kernel, stride, hidden),
            nn.ReLU6(),
            *_convolution(hidden, outputs, 1),
        )
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = self.layers(x)
        return x + y if self.residual else y


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [layer, nn.BatchNorm2d(outputs)]


def _network(channels: int, stem: int, stride: int, classes: int, blocks: list[tuple[int, ...]]) -> nn.Module:
    layers: list[nn.Module] = [*_convolution(channels, stem, 3, stride), nn.ReLU6()]
    width = stem
    for outputs, kernel, step, expansion in blocks:
        layers.append(InvertedResidual(width, outputs, kernel, step, expansion))
        width = outputs
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes)).eval()
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
    return network


_SMALL = [(24, 3, 2, 4), (24, 5, 1, 4), (40, 3, 2, 6), (40, 5, 1, 6), (80, 3, 2, 6), (80, 3, 1, 6)]
_TINY = [(16, 3, 1, 2), (24, 3, 2, 3), (24, 3, 1, 3), (32, 3, 2, 4)]
_WIDE = [(24, 3, 2, 6), (24, 3, 1, 6), (32, 3, 2, 6), (64, 3, 2, 6), (96, 3, 1, 6), (160, 3, 2, 6), (320, 3, 1, 6)]
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, int, int, int]]] = {
    "digits 8 px": (lambda: _network(1, 12, 1, 10, _TINY), (1, 1, 8, 8)),
    "small 16 px": (lambda: _network(3, 16, 1, 10, _SMALL), (1, 3, 16, 16)),
    "small 32 px": (lambda: _network(3, 16, 1, 10, _SMALL), (1, 3, 32, 32)),
}
LARGE = {"wide 128 px": (lambda: _network(3, 32, 2, 1000, _WIDE), (1, 3, 128, 128))}


def compiled_student(network: nn.Module, x: Tensor, threads: int, folder: Path) -> Callable[[Any], Any]:
    """The network compiled by us, checked against torch."""
    from evaluators.compile.compiler import compile_network
    from evaluators.compile.verify import verify

    compiled = compile_network(network, x, load_profile("x86-host").with_threads(threads), folder / "student.so")
    student = CompiledStudent(compiled.library, threads)
    verify(network, student, x)
    return student


def onnxruntime_student(network: nn.Module, x: Tensor, threads: int, folder: Path) -> Callable[[Any], Any]:
    """The network under ONNX Runtime, with the same number of threads."""
    import onnxruntime

    path = folder / "network.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (x,), path, dynamo=True, verbose=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda values: session.run(None, {name: values})[0]


def serve(maker: Callable[..., Callable[[Any], Any]], name: str, threads: int, pipe: Connection) -> None:
    """A process that owns one student: each message asks for a latency in seconds."""
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    build, shape = {**NETWORKS, **LARGE}[name]
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    with tempfile.TemporaryDirectory() as folder:
        student = maker(build(), x, threads, Path(folder))
        values = x.numpy()
        pipe.send(None)
        while pipe.recv():
            pipe.send(measure_latency(student, values, 0.1)["median_s"])


def compare(name: str, threads: int, rounds: int) -> None:
    """Time both in turn, each in its own process so that neither waits for the other's threads; print one line."""
    context = multiprocessing.get_context("spawn")
    pipes = []
    for maker in (compiled_student, onnxruntime_student):
        near, far = context.Pipe()
        context.Process(target=serve, args=(maker, name, threads, far), daemon=True).start()
        far.close()
        near.recv()
        pipes.append(near)
    times = np.array([[_asked(pipe) for pipe in pipes] for _ in range(rounds)])
    for pipe in pipes:
        pipe.send(False)
    low, ratio, high = np.quantile(times[:, 0] / times[:, 1], (0.25, 0.5, 0.75))
    mine, other = np.median(times, axis=0) * 1e3
    print(
        f"{name:12}  {threads} thread{'s' * (threads > 1):1}  ours {mine:7.3f} ms  onnxruntime {other:7.3f} ms  "
        f"ratio {ratio:.2f} ({low:.2f} to {high:.2f})",
        flush=True,
    )


def _asked(pipe: Connection) -> float:
    time.sleep(0.02)  # the other's threads stop spinning
    pipe.send(True)
    seconds: float = pipe.recv()
    return seconds


def main() -> None:
    """Every network with every number of threads."""
    parser = argparse.ArgumentParser(description="Compiled students against ONNX Runtime.")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--large", action="store_true", help="also a wide network at 128 pixels")
    options = parser.parse_args()
    for name in (*NETWORKS, *LARGE) if options.large else NETWORKS:
        for threads in options.threads:
            compare(name, threads, options.rounds)


if __name__ == "__main__":
    main()
