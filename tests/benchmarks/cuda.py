"""Students compiled for the GPU at hand, against torch (with CUDA graphs) and ONNX Runtime's CUDA provider.

    python -m tests.benchmarks.cuda [--only NAME ...] [--rounds 9]

Every network is compiled by the rules that compile for Jetsons, for the GPU's own architecture, and compared with
torch on the processor. Needs an NVIDIA GPU with its driver, CUDA 13 (nvcc and libcudart.so.13) and, for the peers,
builds of torch and onnxruntime with CUDA: those that are not installed are left out.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import tvm
from torch import Tensor, nn

from hw_profiles.gpu import Gpu
from hw_profiles.profile import Profile, load_profile
from results.bundle.runner import CompiledStudent, measure_latency
from tests.benchmarks.kernels.comparison import Comparison, Spread, Summary, relative_error
from tests.benchmarks.kernels.networks import NETWORKS
from tests.benchmarks.kernels.peers import ONNXRUNTIME, OURS, Run
from understudy import CompileError

EAGER, GRAPHS, INDUCTOR = "torch", "torch, CUDA graph", "torch.compile"
WRONG = 2e-2
"""A runtime whose float16 output differs by more than this share of the largest output computes something else.

Unless torch's own float16, operator by operator, is half as far off: then float16 does not suit the network.
"""
ROUND_S = 0.1
USUAL = ("mobile-32-1", "residual-32-1", "mobile-224-1", "residual-224-1", "mobilenetv2", "resnet-18", "vit-tiny")

_COMPARED = (GRAPHS, INDUCTOR, ONNXRUNTIME)
_CORES = {5: 128, 6: 64, 7: 64, 8: 128}
"""float32 units of a multiprocessor by major compute capability (CUDA C++ Programming Guide); later ones: 128."""
_HALF_FACTOR = {5: 1.0, 6: 2.0}
"""float16 over float32 arithmetic, roughly; with tensor cores (7 and later): 8."""


@dataclass(frozen=True)
class Card:
    """What the driver says of a GPU; the clock in kHz, memory in bytes."""

    name: str
    compute_version: str
    multiprocessors: int
    clock_khz: int
    shared_bytes: int
    l2_bytes: int

    @classmethod
    def at_hand(cls) -> Card | None:
        """The first NVIDIA GPU that TVM's CUDA runtime reaches."""
        try:
            device = tvm.cuda(0)
            if not device.exist:
                return None
        except (RuntimeError, AttributeError):  # TVM's CUDA runtime cannot be loaded: no driver, no libcudart
            return None
        return cls(
            device.device_name,
            device.compute_version,
            device.multi_processor_count,
            device.max_clock_rate,
            device.max_shared_memory_per_block,
            device.l2_cache_size_bytes,
        )

    def profile(self) -> Profile:
        """This computer's profile with the card as its GPU; peaks are rough, since they only choose tiles."""
        major = int(self.compute_version.split(".")[0])
        single = 2.0 * _CORES.get(major, 128) * self.multiprocessors * self.clock_khz * 1e3
        gpu = Gpu(
            arch="sm_" + self.compute_version.replace(".", ""),
            multiprocessors=self.multiprocessors,
            clock_ghz=self.clock_khz / 1e6,
            shared_bytes=self.shared_bytes,
            registers=65_536,
            l2_bytes=self.l2_bytes,
            toolkit="the one installed here",
            peak={"float32": single, "float16": single * _HALF_FACTOR.get(major, 8.0)},
        )
        host = load_profile("x86-host").with_threads(1)
        sources = {f"gpu.{name}": "the driver" for name in Gpu.__dataclass_fields__}
        return replace(host, name=self.name, gpu=gpu, sources={**host.sources, **sources})


def ours(network: nn.Module, x: Tensor, profile: Profile, folder: Path) -> Run:
    """Our compiler, in float16; the student takes and gives numpy arrays of float32."""
    from evaluators.compile.compiler import compile_network

    library = compile_network(network, x, profile, folder / "student.so").library
    return CompiledStudent(library, 1, on_gpu=True)


def eager(network: nn.Module, x: Tensor, profile: Profile, folder: Path) -> Run:
    """torch in float16, channels last, operator by operator."""
    moved = _moved(network)

    def run(values: Any) -> Any:
        with torch.inference_mode():
            return moved(_on_gpu(values)).float().cpu().numpy()

    return run


def graphs(network: nn.Module, x: Tensor, profile: Profile, folder: Path) -> Run:
    """The same recorded once as a CUDA graph."""
    moved, given = _moved(network), _on_gpu(x.numpy())
    with torch.inference_mode():
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                moved(given)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            output = moved(given)

    def run(values: Any, weights: nn.Module = moved) -> Any:  # which the graph reads: they must stay
        with torch.inference_mode():
            given.copy_(_on_gpu(values))
            graph.replay()
            return output.float().cpu().numpy()

    return run


def inductor(network: nn.Module, x: Tensor, profile: Profile, folder: Path) -> Run:
    """torch.compile in float16, channels last, with CUDA graphs (``reduce-overhead``)."""
    moved = torch.compile(_moved(network), mode="reduce-overhead")

    def run(values: Any) -> Any:
        with torch.inference_mode():
            return moved(_on_gpu(values)).float().cpu().numpy()

    return run


def onnxruntime(network: nn.Module, x: Tensor, profile: Profile, folder: Path) -> Run:
    """ONNX Runtime's CUDA provider, in float32 (TF32 where the GPU has it)."""
    import onnxruntime as ort

    from evaluators.onnx_twin import write_twin

    write_twin(network, (x,), folder / "network.onnx", ["x"], ["y"])
    session = ort.InferenceSession(folder / "network.onnx", providers=["CUDAExecutionProvider"])
    return lambda values: session.run(None, {"x": values})[0]


MAKERS: Mapping[str, Callable[[nn.Module, Tensor, Profile, Path], Run]] = {
    OURS: ours,
    EAGER: eager,
    GRAPHS: graphs,
    INDUCTOR: inductor,
    ONNXRUNTIME: onnxruntime,
}


def available() -> list[str]:
    """Ours, and the peers that are installed for CUDA."""
    import onnxruntime as ort

    peers = [EAGER, GRAPHS, INDUCTOR] if torch.cuda.is_available() else []
    return [OURS, *peers, *([ONNXRUNTIME] if "CUDAExecutionProvider" in ort.get_available_providers() else [])]


def compare(name: str, profile: Profile, makers: Iterable[str], rounds: int) -> Comparison:
    """One network under all runtimes, timed in turn, numpy in and numpy out; wrong or failing ones are named."""
    network, x = NETWORKS[name].build()
    with torch.no_grad():
        expected = network(x).numpy()
    runs: dict[str, Run] = {}
    errors, failures, compile_s = {}, {}, None
    with tempfile.TemporaryDirectory() as folder:
        for maker in makers:
            start = time.perf_counter()
            try:
                run = MAKERS[maker](network, x, profile, Path(folder))
                errors[maker] = relative_error(expected, run(x.numpy()))
            except (RuntimeError, ValueError, CompileError) as error:
                failures[maker] = str(error).splitlines()[0]
                continue
            compile_s = time.perf_counter() - start if maker == OURS else compile_s
            errors[maker] = max(errors[maker], relative_error(expected, run(x.numpy())))
            runs[maker] = run
        limit = max(WRONG, 2 * errors.get(EAGER, 0.0))
        for maker in [each for each in runs if errors[each] > limit]:
            failures[maker] = f"differs from torch by {errors[maker]:.0e}"
            del runs[maker]
        laps = {maker: [] for maker in runs}
        for _ in range(rounds):
            for maker, run in runs.items():
                laps[maker].append(measure_latency(run, x.numpy(), ROUND_S)["median_s"])
    times = {maker: Spread.of(each) for maker, each in laps.items()}
    return Comparison(name, NETWORKS[name].group, times, errors, failures, compile_s)


def row(found: Comparison) -> str:
    """The network's line of the table."""
    cells = [_cell(found, maker) for maker in MAKERS]
    ratios = [f"{found.ratio(peer):.2f}" for peer in _COMPARED]
    return f"| {' | '.join([found.network, *cells, *ratios])} |"


def _cell(found: Comparison, maker: str) -> str:
    if maker not in found.times:
        return found.failures.get(maker, "-")
    spread = found.times[maker]
    return f"{1e3 * spread.median:.3f} ({1e3 * spread.low:.3f}-{1e3 * spread.high:.3f}), {found.errors[maker]:.0e}"


def result(card: Card, summary: Summary) -> str:
    """The last line: geometric means of ours over the peers, the worst difference to torch, what failed."""
    worst = max((each.errors[OURS] for each in summary.comparisons if OURS in each.errors), default=math.nan)
    failed = f" failed={','.join(summary.failed)}" if summary.failed else ""
    return (
        f'RESULT cuda card="{card.name}" geomean_vs_torch_graphs={summary.geometric_mean(GRAPHS):.3f} '
        f"geomean_vs_torch_compile={summary.geometric_mean(INDUCTOR):.3f} "
        f"geomean_vs_ort={summary.geometric_mean(ONNXRUNTIME):.3f} worst_error={worst:.1e}{failed}"
    )


def _moved(network: nn.Module) -> nn.Module:
    return deepcopy(network).to("cuda", torch.float16, memory_format=torch.channels_last)


def _on_gpu(values: Any) -> Tensor:
    there = torch.from_numpy(values).to("cuda")
    return there.half() if there.is_floating_point() else there


def main() -> int:
    """Compare the networks one after the other; 2 without a GPU."""
    parser = argparse.ArgumentParser(prog="tests.benchmarks.cuda", description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=NETWORKS, default=USUAL)
    parser.add_argument("--rounds", type=int, default=9, help="how often each is timed")
    options = parser.parse_args()
    card = Card.at_hand()
    if card is None:
        print("no NVIDIA GPU at hand (with its driver and libcudart.so.13): nothing was measured", file=sys.stderr)
        return 2
    profile, makers = card.profile(), available()
    print(f"{card.name}, {profile.gpu.arch if profile.gpu else ''}; timed: {', '.join(makers)}")
    heads = ["network", *(f"{maker}, ms; error" for maker in MAKERS), *(f"to {peer}" for peer in _COMPARED)]
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}", flush=True)
    found = []
    for name in options.only:
        found.append(compare(name, profile, makers, options.rounds))
        print(row(found[-1]), flush=True)
    summary = Summary(tuple(found))
    print(result(card, summary))
    return 1 if summary.failed else 0


if __name__ == "__main__":
    sys.exit(main())
