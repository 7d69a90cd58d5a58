"""Networks and exported programs to shared libraries for a hardware profile."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import tvm
from torch import Tensor, nn
from torch.export import ExportedProgram

from evaluators.compile import graph
from evaluators.compile.export import export_network, import_program
from evaluators.compile.legalize import make_kernels
from evaluators.compile.link import build, link, plan_memory
from evaluators.compile.rules.apply import schedule_kernels
from hw_profiles.profile import Profile
from understudy import CompileError


@dataclass(frozen=True)
class Compiled:
    """A network compiled for a profile.

    ``library`` takes one float32 tensor of ``input_shape`` (N, C, H, W) and returns the logits.
    ``size_bytes`` is the file on disk, weights included. ``memory_bytes`` is what one inference holds at
    once by the static plan: the storages of the activations, weights, input and output. ``seconds`` says
    where the time went: ``export`` (torch to graph), ``lower`` (graph to machine code), ``link``.
    """

    library: Path
    input_shape: tuple[int, ...]
    size_bytes: int
    memory_bytes: int
    seconds: Mapping[str, float] = field(default_factory=dict)


def compile_network(network: nn.Module, example: Tensor, profile: Profile, library: Path) -> Compiled:
    """Compile a network for inputs of the example's shape, (N, C, H, W) float32, into ``library`` (``.so``).

    The network is read in evaluation mode and left as it is. Raises ``CompileError`` naming the layer that
    cannot be exported or compiled, or what failed in linking.
    """
    seconds: dict[str, float] = {}
    with _timed(seconds, "export"):
        program = export_network(network, example)
    return _compile(program, profile, library, seconds)


def compile_exported(program: ExportedProgram, profile: Profile, library: Path) -> Compiled:
    """Compile a ``torch.export`` program, such as a teacher given as one; otherwise as ``compile_network``."""
    return _compile(program, profile, library, {})


def _compile(program: ExportedProgram, profile: Profile, library: Path, seconds: dict[str, float]) -> Compiled:
    with _timed(seconds, "export"):
        module = import_program(program)
    with _timed(seconds, "lower"):
        executable, memory = _lower(module, profile)
    with _timed(seconds, "link"):
        link(executable, library)
    return Compiled(library, _input_shape(module), library.stat().st_size, memory, seconds)


def _lower(module: tvm.IRModule, profile: Profile) -> tuple[tvm.runtime.Executable, int]:
    try:
        kernels = make_kernels(graph.prepare(module), profile)
        planned, memory = plan_memory(schedule_kernels(kernels, profile))
        return build(planned, profile.tvm_target), memory
    except (RuntimeError, ValueError, TypeError, AttributeError) as error:
        line = next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), repr(error))
        raise CompileError(f"TVM cannot lower this network ({line[:300]})") from error


def _input_shape(module: tvm.IRModule) -> tuple[int, ...]:
    return tuple(int(extent) for extent in module["main"].params[0].ty.shape)


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - start
