"""Latency of compiled students against ONNX Runtime, alternately timed on the same network and input.

    python -m tests.benchmarks.compiled_vs_onnxruntime [--rounds 15] [--threads 1 2] [--large]

Each round times one, then the other; the ratio of a round compares two neighbours in time, so slow drifts of a
shared machine cancel. Printed are medians, and the ratio's median with its quartiles (below 1: ours is faster).
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import warnings
from collections.abc import Callable
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


def compare(name: str, threads: int, rounds: int) -> None:
    """Compile, check, time both in turn, print one line."""
    from evaluators.compile.compiler import compile_network
    from evaluators.compile.verify import verify

    torch.set_num_threads(1)
    build, shape = {**NETWORKS, **LARGE}[name]
    network, x = build(), torch.randn(shape, generator=torch.Generator().manual_seed(0))
    profile = load_profile("x86-host").with_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        compiled = compile_network(network, x, profile, Path(folder) / "student.so")
        ours = CompiledStudent(compiled.library, threads)
        theirs = onnxruntime_student(network, x, threads, Path(folder))
        difference = verify(network, ours, x)
        values = x.numpy()
        times = np.array(
            [[measure_latency(student, values, 0.1)["median_s"] for student in (ours, theirs)] for _ in range(rounds)]
        )
    low, ratio, high = np.quantile(times[:, 0] / times[:, 1], (0.25, 0.5, 0.75))
    mine, other = np.median(times, axis=0) * 1e3
    print(
        f"{name:12}  {threads} threads  ours {mine:7.3f} ms  onnxruntime {other:7.3f} ms  "
        f"ratio {ratio:.2f} ({low:.2f} to {high:.2f})  difference {difference:.0e}  "
        f"compiled in {sum(compiled.seconds.values()):.1f} s",
        flush=True,
    )


def main() -> None:
    """Each comparison in a process of its own, so that thread pools start fresh."""
    parser = argparse.ArgumentParser(description="Compiled students against ONNX Runtime.")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--large", action="store_true", help="also a wide network at 128 pixels")
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    for name in (*NETWORKS, *LARGE) if options.large else NETWORKS:
        for threads in options.threads:
            process = context.Process(target=compare, args=(name, threads, options.rounds))
            process.start()
            process.join()


if __name__ == "__main__":
    main()
