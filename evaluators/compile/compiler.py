"""Networks to shared libraries for a hardware profile."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import tvm
from torch import Tensor, nn
from tvm import relax

from evaluators.compile.choices import Chooser, first
from evaluators.compile.cuda.lower import build_for_gpu, lower_for_gpu
from evaluators.compile.export import import_network
from evaluators.compile.graph.prepare import prepare
from evaluators.compile.legalize.kernels import make_kernels
from evaluators.compile.link import check_room, link, plan_memory
from evaluators.compile.machine_code import executable_of, name_by_content
from evaluators.compile.memory import workspace_bytes
from evaluators.compile.objects import default_objects
from evaluators.compile.rules.apply import schedule_kernels
from evaluators.compile.together import alike, packing_of
from hw_profiles.profile import Profile
from results.tensors import TensorSpec
from understudy import CompileError, UnderstudyError

_LEAST_ROOM = 8_000_000
"""Bytes of disk that any linking is given, for machine code and the linker's own files."""


@dataclass(frozen=True)
class Compiled:
    """A network compiled for a profile.

    ``library`` takes tensors like ``inputs`` and returns those of ``outputs``, a tuple where there are several.
    ``size_bytes`` is the file on disk, weights included. ``memory_bytes`` is what one inference holds at
    once by the static plan: the storages of the activations, weights, inputs and outputs, and on a CPU what the
    kernels keep inside. ``seconds`` says where the time went: ``export`` (torch to graph), ``lower`` (graph to
    machine code), ``link``.
    """

    library: Path
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    size_bytes: int
    memory_bytes: int
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of the first input, (N, C, H, W) of a student."""
        return self.inputs[0].shape


def compile_network(
    network: nn.Module,
    example: Tensor | tuple[Tensor, ...],
    profile: Profile,
    library: Path,
    choose: Chooser = first,
) -> Compiled:
    """Compile a network for inputs of the example's shapes and dtypes into ``library`` (``.so``).

    The network is read in evaluation mode and left as it is. Raises ``CompileError`` naming the layer that
    cannot be exported, the operator or kernel that cannot be compiled, or what failed in linking, and ``RunError``
    when the disk is full.
    """
    seconds: dict[str, float] = {}
    with _timed(seconds, "export"):
        module = import_network(network, example)
    compiled = compile_module(module, profile, library, choose)
    return replace(compiled, seconds={**seconds, **compiled.seconds})


def compile_module(module: tvm.IRModule, profile: Profile, library: Path, choose: Chooser = first) -> Compiled:
    """Compile a relax module into ``library``: ``main`` takes the inputs, everything else in it is constant.

    Raises ``CompileError`` for a shape that is not static, and otherwise as ``compile_network`` does.
    """
    seconds: dict[str, float] = {}
    _signature(module["main"])
    with _timed(seconds, "lower"):
        _, scheduled = lower_kernels(module, profile, choose)
    compiled = link_kernels(scheduled, profile, library)
    both = {"lower": seconds["lower"] + compiled.seconds["lower"], "link": compiled.seconds["link"]}
    return replace(compiled, seconds=both)


def link_kernels(scheduled: tvm.IRModule, profile: Profile, library: Path) -> Compiled:
    """What ``lower_kernels`` scheduled as machine code in ``library``; raises as ``compile_network`` does.

    Of several programs (``together.joined``) the figures are of all, and what goes in and out is that of ``main``.
    """
    seconds: dict[str, float] = {}
    inputs, outputs = _signature(scheduled["main"])
    with _timed(seconds, "lower"), _refusing():
        planned, memory = plan_memory(scheduled, cuda_graph=profile.gpu is not None)
        check_room(Path(tempfile.gettempdir()), _LEAST_ROOM)
        if profile.gpu is None:
            memory += workspace_bytes(scheduled, profile.threads)
            executable = executable_of(planned, profile.tvm_target, default_objects())
        else:
            executable = build_for_gpu(planned, profile)
    with _timed(seconds, "link"):
        link(executable, library, 2 * memory + _LEAST_ROOM, profile)
    return Compiled(library, inputs, outputs, library.stat().st_size, memory, seconds)


Lowered = tuple[tvm.IRModule, tvm.IRModule]
"""A relax module as calls of kernels, and the same with every kernel scheduled."""


def lower_kernels(module: tvm.IRModule, profile: Profile, choose: Chooser = first) -> Lowered:
    """The relax module as calls of kernels, and the same with every kernel scheduled for the profile.

    Raises ``CompileError`` naming the operator or kernel that cannot be compiled.
    """
    (lowered,) = lower_programs([module], profile, choose)
    return lowered


def lower_programs(modules: Sequence[tvm.IRModule], profile: Profile, choose: Chooser = first) -> list[Lowered]:
    """Each program of a network as ``lower_kernels`` has it; their weights are alike for ``together.joined``."""
    with _refusing():
        graphs = alike([prepare(module, profile) for module in modules])
        if profile.gpu is not None:
            return [lower_for_gpu(graph, profile) for graph in graphs]
        packing = packing_of(graphs, profile)
        computed = [make_kernels(graph, profile, choose, packing) for graph in graphs]
        named = (name_by_content(each, schedule_kernels(each, profile)) for each in computed)
        return [(plain, scheduled) for plain, scheduled in named]


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except UnderstudyError:
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


def _signature(main: relax.Function) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """What ``main`` takes and gives."""
    inputs = tuple(_spec(parameter.name, parameter.ty) for parameter in main.params)
    if not isinstance(main.ret_ty, relax.TupleType):
        return inputs, (_spec("output", main.ret_ty),)
    return inputs, tuple(_spec(f"output{number}", part) for number, part in enumerate(main.ret_ty.fields))


def _spec(name: str, tensor: relax.TensorType) -> TensorSpec:
    try:
        return TensorSpec(name, tuple(int(extent) for extent in tensor.shape), str(tensor.dtype))
    except (TypeError, AttributeError) as error:
        raise CompileError(
            f"{name} of the network is no tensor of static shape, but {tensor}: give every input its sizes"
        ) from error


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - start
