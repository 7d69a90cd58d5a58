"""Networks to shared libraries for a hardware profile."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import tvm
from torch import Tensor, nn

from evaluators.compile.choices import Chooser, first
from evaluators.compile.export import export_network, import_program
from evaluators.compile.graph.prepare import prepare
from evaluators.compile.legalize.kernels import make_kernels
from evaluators.compile.link import build, link, plan_memory
from evaluators.compile.rules.apply import schedule_kernels
from hw_profiles.profile import Profile
from understudy import CompileError

_LEAST_ROOM = 8_000_000
"""Bytes of disk that any linking is given, for machine code and the linker's own files."""


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


def compile_network(
    network: nn.Module, example: Tensor, profile: Profile, library: Path, choose: Chooser = first
) -> Compiled:
    """Compile a network for inputs of the example's shape, (N, C, H, W) float32, into ``library`` (``.so``).

    The network is read in evaluation mode and left as it is. Raises ``CompileError`` naming the layer that
    cannot be exported, the operator or kernel that cannot be compiled, or what failed in linking, and ``RunError``
    when the disk is full.
    """
    seconds: dict[str, float] = {}
    with _timed(seconds, "export"):
        module = import_program(export_network(network, example))
    with _timed(seconds, "lower"):
        executable, memory = _lower(module, profile, choose)
    with _timed(seconds, "link"):
        link(executable, library, 2 * memory + _LEAST_ROOM)
    return Compiled(library, _input_shape(module), library.stat().st_size, memory, seconds)


def _lower(module: tvm.IRModule, profile: Profile, choose: Chooser) -> tuple[tvm.runtime.Executable, int]:
    try:
        kernels = make_kernels(prepare(module), profile, choose)
        planned, memory = plan_memory(schedule_kernels(kernels, profile))
        return build(planned, profile.tvm_target), memory
    except CompileError:
        raise
    except Exception as error:  # TVM's passes raise whatever they run into, in C++ or in Python
        raise CompileError(_refusal(error)) from error


def _refusal(error: Exception) -> str:
    """What TVM refuses: the operator, where its message quotes one (``R.nn.conv2d_transpose(...)``)."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [repr(error)]
    operator = re.search(r"\bR\.([a-z][\w.]*)\(", str(error))
    if operator:
        return f"TVM cannot compile the operator {operator[1]} ({lines[0][:200]}): use another one there"
    return f"TVM cannot compile this network ({lines[-1][:300]})"


def _input_shape(module: tvm.IRModule) -> tuple[int, ...]:
    return tuple(int(extent) for extent in module["main"].params[0].ty.shape)


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - start
