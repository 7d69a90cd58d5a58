"""The kernels of a compiled network one by one: what each computes, who scheduled it, and how long it takes.

TVM's virtual machine no longer profiles, so the kernels are called on their own, from the very library that runs
the network, on arguments of their shapes. These stay in cache between calls as far as they fit.
"""

from __future__ import annotations

import math
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tvm
import tvm_ffi
from tvm import relax, te, tirx
from tvm.s_tir import SBlock
from tvm.s_tir.analysis import estimate_tir_flops
from tvm.tirx import PrimFunc

from evaluators.compile.choices import OPERATIONS, Choice, Chooser, KernelKey, first
from evaluators.compile.link import link
from evaluators.compile.machine_code import machine_of
from evaluators.compile.rules.apply import rule_of, schedule_kernel
from evaluators.compile.vector_math import PIPELINE
from hw_profiles.profile import Profile
from results.bundle.runner import CompiledStudent, measure_latency

SAMPLES = 5
SAMPLE_MS = 4
_ROOM = 16 * 2**20
"""Bytes that must be free on the disk to link a few kernels."""


@dataclass(frozen=True)
class Kernel:
    """One kernel as the compiler made it.

    ``calls`` are those of one inference; ``shapes`` and ``dtypes`` are of its arguments, the result last.
    ``operations`` (floating-point, a multiply-add is two) and ``bytes`` (each argument moved once, or as often as
    it is read where that is less) are of one call. ``rule`` scheduled it.
    """

    name: str
    rule: str
    calls: int
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[str, ...]
    operations: float
    bytes: int


@dataclass(frozen=True)
class NetworkTimes:
    """Median seconds of a call of the network, its kernels in the order of their first call, and theirs.

    ``tuned`` of the kernels are built otherwise than the rules' models say.
    """

    seconds: float
    kernels: tuple[Kernel, ...]
    kernel_seconds: tuple[float, ...]
    tuned: int = 0


def time_network(
    module: tvm.IRModule,
    profile: Profile,
    alone: Callable[[], AbstractContextManager[None]],
    choose: Chooser = first,
) -> NetworkTimes:
    """Compile a relax module for this computer, then time it whole and kernel by kernel inside ``alone``.

    Raises ``CompileError`` as ``compile_module`` does.
    """
    from evaluators.compile.compiler import link_kernels, lower_kernels  # with torch, which timing does without

    tuned: set[KernelKey] = set()

    def noted(key: KernelKey, options: Sequence[Choice]) -> Choice:
        choice = choose(key, options)
        if choice != options[0]:
            tuned.add(key)
        return choice

    with tempfile.TemporaryDirectory(prefix="understudy-") as folder:
        computed, scheduled = lower_kernels(module, profile, noted)
        compiled = link_kernels(scheduled, profile, Path(folder) / "network.so")
        kernels = list_kernels(computed, scheduled)
        network = CompiledStudent(compiled.library, profile.threads)
        generator = np.random.default_rng(0)
        inputs = tuple(_values(spec.shape, spec.dtype, generator) for spec in compiled.inputs)
        with alone():
            whole = measure_latency(network, inputs)["median_s"]
            seconds = time_kernels(compiled.library, kernels)
            return NetworkTimes(whole, tuple(kernels), tuple(seconds), len(tuned))


def streaming_bandwidth(size: int, profile: Profile) -> float:
    """Bytes a second that an element-wise kernel moves on ``size`` bytes, half of them read and half written."""
    scheduled, kernel = stream_kernel(size, profile)
    target = tvm.target.Target(dict(profile.tvm_target))
    with target, tvm.transform.PassContext(opt_level=3):
        library = tvm.compile(scheduled, target)
    return kernel.bytes / time_kernel(library.mod, kernel, tvm.cpu())


def stream_kernel(size: int, profile: Profile) -> tuple[tvm.IRModule, Kernel]:
    """An element-wise kernel on ``size`` bytes, half of them read and half written, as the rules schedule it."""
    count = max(1, size // 8)
    source = te.placeholder((count,), name="source")
    function = te.create_prim_func([source, te.compute((count,), lambda at: source[at] + 1.0, name="stream")])
    scheduled = schedule_kernel(function, profile).with_attr("global_symbol", "stream")
    shapes, dtypes = ((count,), (count,)), ("float32", "float32")
    kernel = Kernel("stream", rule_of(scheduled), 1, shapes, dtypes, count, 8 * count)
    return tvm.IRModule({"stream": scheduled}), kernel


def list_kernels(computed: tvm.IRModule, scheduled: tvm.IRModule) -> list[Kernel]:
    """The kernels of a network in the order of their first call; ``computed`` holds them without schedules."""
    calls = _calls(computed["main"])
    return [_kernel(name, count, computed[name], scheduled[name]) for name, count in calls.items()]


def time_kernels(library: Path, kernels: list[Kernel]) -> list[float]:
    """Median seconds of one call of each kernel, from the network's own library, on the caller's thread pool."""
    (module,) = tvm.runtime.load_module(str(library.absolute())).imports
    return [time_kernel(module, kernel, tvm.cpu()) for kernel in kernels]


def link_alone(scheduled: tvm.IRModule, kernels: Sequence[Kernel], profile: Profile, library: Path) -> None:
    """Some kernels of a network as a library of nothing else, in which TVM's RPC finds them by name.

    (It looks for what it times in a library itself, not in what that imports.) Raises ``CompileError``.
    """
    functions = {each.name: scheduled[each.name].with_attr("global_symbol", each.name) for each in kernels}
    target = machine_of(profile.tvm_target)
    with target, tvm.transform.PassContext(opt_level=3, config={"tirx.disable_assert": True}):
        compiled = tvm.compile(tvm.IRModule(functions), target, tir_pipeline=PIPELINE)
    link(compiled, library, _ROOM, profile)


def time_kernel(module: tvm.runtime.Module, kernel: Kernel, device: tvm.runtime.Device) -> float:
    """Median seconds of one call of a kernel that a module holds, on a device of this process or behind RPC."""
    generator = np.random.default_rng(0)
    arguments = [
        tvm.runtime.tensor(_values(shape, dtype, generator), device)
        for shape, dtype in zip(kernel.shapes, kernel.dtypes, strict=True)
    ]
    once = module.time_evaluator(kernel.name, device, number=1, repeat=2)(*arguments).min
    number = max(1, int(SAMPLE_MS / 1e3 / max(once, 1e-7)))
    timed = module.time_evaluator(kernel.name, device, number=number, repeat=SAMPLES)
    return float(timed(*arguments).median)


def _calls(main: relax.Function) -> Counter[str]:
    found: Counter[str] = Counter()

    def visit(expression: relax.Expr) -> None:
        if isinstance(expression, relax.Call) and expression.op == tvm.ir.Op.get("relax.call_tir"):
            found[expression.args[0].name_hint] += 1

    relax.analysis.post_order_visit(main.body, visit)
    return found


def _kernel(name: str, calls: int, computed: PrimFunc, scheduled: PrimFunc) -> Kernel:
    types = [parameter.ty for parameter in computed.params]
    return Kernel(
        name,
        rule_of(scheduled),
        calls,
        tuple(tuple(int(extent) for extent in each.shape) for each in types),
        tuple(str(each.dtype) for each in types),
        _operations(computed),
        _moved(computed),
    )


def _operations(computed: PrimFunc) -> float:
    """Floating-point operations: as a stage says itself, or as TVM counts them."""
    said: list[int] = []

    def visit(stage: SBlock) -> None:
        if OPERATIONS in stage.annotations:
            said.append(int(stage.annotations[OPERATIONS]))

    tvm_ffi.structural_walk(computed.body, (SBlock, visit), order="post")
    return float(sum(said) or estimate_tir_flops(tvm.IRModule({"main": computed})))


def _moved(computed: PrimFunc) -> int:
    """Bytes of the arguments that are read or written at least once."""
    touched: Counter[Any] = Counter()

    def visit(stage: SBlock) -> None:
        times = math.prod(int(axis.dom.extent) for axis in stage.iter_vars)
        for region in (*stage.reads, *stage.writes):
            touched[region.source] += times * _elements(region)

    tvm_ffi.structural_walk(computed.body, (SBlock, visit), order="post")
    return sum(
        min(touched[parameter], math.prod(int(extent) for extent in parameter.ty.shape))
        * _width(parameter.ty.dtype)
        for parameter in computed.params
    )


def _elements(region: Any) -> int:
    """Elements of a region, all of an axis where its extent depends on the place."""
    axes = zip(region.region, region.source.shape, strict=True)
    return math.prod(int(axis.extent if isinstance(axis.extent, tirx.IntImm) else all_of) for axis, all_of in axes)


def _width(dtype: object) -> int:
    return -(-int(tvm.DataType(str(dtype)).bits) // 8)


def _values(shape: tuple[int, ...], dtype: str, generator: np.random.Generator) -> Any:
    """Numbers of the size of activations; zeros where they are not floating-point, so that indices are valid."""
    if dtype.startswith("float"):
        return generator.standard_normal(shape).astype(dtype)
    return np.zeros(shape, dtype)
