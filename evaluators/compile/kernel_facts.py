"""What a kernel is, in figures that its time follows from: read from its scheduled code, never from running it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import tvm
import tvm_ffi
from tvm import tirx
from tvm.ir import Call, Expr, Range, TensorLoad
from tvm.s_tir import SBlockRealize
from tvm.sym import Analyzer
from tvm.tirx import For, ForKind, PrimFunc, Stmt

from evaluators.compile.kernel_times import Kernel, list_kernels
from hw_profiles.profile import Profile

_HARD = ("Div", "FloorDiv", "FloorMod", "Mod")


@dataclass(frozen=True)
class KernelFacts:
    """A kernel of a compiled network: ``key`` is equal for equal code, ``calls`` are those of one inference.

    ``counts`` are of one call: ``operations``, ``bytes`` (all arguments once), and what its loops execute
    (``instructions_of``).
    """

    key: str
    rule: str
    calls: int
    counts: Mapping[str, float] = field(hash=False)


def compiler_version() -> str:
    """What turns scheduled code into machine code."""
    return f"tvm {tvm.__version__} llvm {tvm.target.codegen.llvm_version_major()}"


def network_facts(computed: tvm.IRModule, scheduled: tvm.IRModule, profile: Profile) -> list[KernelFacts]:
    """The kernels of a network as ``lower_kernels`` returned it, in the order of their first call."""
    return [facts_of(kernel, scheduled[kernel.name], profile) for kernel in list_kernels(computed, scheduled)]


def facts_of(kernel: Kernel, scheduled: PrimFunc, profile: Profile) -> KernelFacts:
    """The facts of one kernel, its vectors those of the profile."""
    bare = scheduled.without_attr("global_symbol") if "global_symbol" in scheduled.attrs else scheduled
    key = f"{tvm_ffi.structural_hash(bare) & (2**64 - 1):016x}"
    sizes = [math.prod(shape) for shape in kernel.shapes]
    counts = {
        "operations": kernel.operations,
        "bytes": float(kernel.bytes),
        "output": float(sizes[-1]),
        "largest": float(max(sizes)),
        "arguments": float(len(sizes)),
        **instructions_of(scheduled, profile.vector_bits),
    }
    return KernelFacts(key, kernel.rule, kernel.calls, counts)


def instructions_of(scheduled: PrimFunc, vector_bits: int) -> dict[str, float]:
    """How often things are executed in a call, a vector of ``vector_bits`` once.

    ``stores``, ``loads`` (of vectors or of numbers that fill one), ``gathers`` (loads of numbers that are not
    side by side), ``scalars`` (stores of single numbers), ``arithmetic``, ``divisions``, ``functions`` (exp and
    its like), ``branches``, ``iterations`` (of loops that stay loops), ``parallel`` (iterations that threads
    share; 1 without), ``copies`` (bodies that the compiler writes out), ``depth`` (of loops).
    """
    counter = _Count(vector_bits)
    counter.statement(scheduled.body, 1.0, _Lanes())
    names = ("stores", "loads", "gathers", "scalars", "arithmetic", "divisions", "functions", "branches")
    found = {name: counter.found[name] for name in (*names, "iterations")}
    return {**found, "parallel": counter.parallel, "copies": counter.copies, "depth": counter.depth}


@dataclass(frozen=True)
class _Lanes:
    """The vectorised loop around a statement: its length and the variables that run with it."""

    count: int = 1
    moving: frozenset[int] = frozenset()
    depth: int = 0
    copies: float = 1.0


class _Count:
    def __init__(self, vector_bits: int) -> None:
        self.found: defaultdict[str, float] = defaultdict(float)
        self.parallel = 1.0
        self.copies = 0.0
        self.depth = 0.0
        self._bits = vector_bits
        self._bounds = Analyzer()

    def statement(self, node: Stmt, times: float, lanes: _Lanes) -> None:
        """Everything that a statement executes ``times`` times."""
        if isinstance(node, tirx.SeqStmt):
            for part in node.seq:
                self.statement(part, times, lanes)
        elif isinstance(node, For):
            self._loop(node, times, lanes)
        elif isinstance(node, SBlockRealize):
            self._block(node, times, lanes)
        elif isinstance(node, tirx.BufferStore):
            self._store(node, times, lanes)
        elif isinstance(node, tirx.IfThenElse):
            self.found["branches"] += times
            self.statement(node.then_case, times, lanes)
            if node.else_case is not None:
                self.statement(node.else_case, times, lanes)
        elif isinstance(node, tirx.Bind | tirx.Evaluate):
            self._expression(node.value, times, lanes)
        elif isinstance(node, tirx.AttrStmt | tirx.While):
            self.statement(node.body, times, lanes)

    def _loop(self, node: For, times: float, lanes: _Lanes) -> None:
        extent = self._extent(node.extent)
        self._bounds.bind(node.loop_var, Range.from_min_extent(node.min, node.extent))
        if node.kind == ForKind.VECTORIZED:
            lanes = _Lanes(int(extent), frozenset([node.loop_var.__hash__()]), lanes.depth, lanes.copies)
        else:
            times *= extent
            unrolled = node.kind == ForKind.UNROLLED
            copies = lanes.copies * (extent if unrolled else 1)
            lanes = _Lanes(lanes.count, lanes.moving, lanes.depth + (not unrolled), copies)
            self.depth = max(self.depth, lanes.depth)
            if not unrolled:
                self.found["iterations"] += times
            if node.kind == ForKind.PARALLEL:
                self.parallel = max(self.parallel, extent)
        self.statement(node.body, times, lanes)

    def _block(self, node: SBlockRealize, times: float, lanes: _Lanes) -> None:
        block = node.block
        moving = {
            axis.var.__hash__()
            for axis, value in zip(block.iter_vars, node.iter_values, strict=True)
            if lanes.moving and _mentions(value, lanes.moving)
        }
        lanes = _Lanes(lanes.count, lanes.moving | moving, lanes.depth, lanes.copies)
        if block.init is not None:
            self.statement(block.init, times, lanes)
        self.statement(block.body, times, lanes)

    def _store(self, node: Any, times: float, lanes: _Lanes) -> None:
        vectors = self._vectors(str(node.buffer.dtype), node.indices, lanes)
        self.copies += lanes.copies * vectors
        self.found["stores" if vectors or lanes.count > 1 else "scalars"] += times * max(vectors, 1)
        self._expression(node.value, times, lanes)

    def _expression(self, node: Expr, times: float, lanes: _Lanes) -> None:
        kind = type(node).__name__
        if isinstance(node, TensorLoad):
            spread = lanes.moving and any(_mentions(index, lanes.moving) for index in list(node.indices)[:-1])
            name, weight = ("gathers", lanes.count) if spread else ("loads", 1)
            self.found[name] += times * weight * max(self._vectors(str(node.source.dtype), node.indices, lanes), 1)
        elif isinstance(node, Call):
            self.found["functions"] += times * max(1, lanes.count * 32 // self._bits)
            for argument in node.args:
                self._expression(argument, times, lanes)
        elif isinstance(node, tirx.Select):
            self.found["arithmetic"] += times * max(1, lanes.count * 32 // self._bits)
            for part in (node.condition, node.true_value, node.false_value):
                self._expression(part, times, lanes)
        elif isinstance(node, tirx.Cast | tirx.Broadcast | tirx.Not):
            self._expression(node.a if isinstance(node, tirx.Not) else node.value, times, lanes)
        elif isinstance(node, tirx.Let):
            self._expression(node.value, times, lanes)
            self._expression(node.body, times, lanes)
        elif isinstance(node, _BINARY):
            name = "divisions" if kind in _HARD else "arithmetic"
            self.found[name] += times * max(1, lanes.count * 32 // self._bits)
            self._expression(node.a, times, lanes)
            self._expression(node.b, times, lanes)

    def _vectors(self, dtype: str, indices: Any, lanes: _Lanes) -> int:
        """Vectors that an access moves; 0 for a single number."""
        last = indices[-1] if len(indices) else None
        ramp = int(last.lanes) if isinstance(last, tirx.Ramp) else 1
        count = max(ramp, lanes.count)
        bits = int(tvm.DataType(dtype).bits) * int(tvm.DataType(dtype).lanes)
        return math.ceil(count * bits / self._bits) if count > 1 else 0

    def _extent(self, extent: Any) -> float:
        """The length of a loop; its largest where it depends on the place."""
        if isinstance(extent, tirx.IntImm):
            return float(int(extent))
        bound = self._bounds.const_int_bound(extent).max_value
        return float(bound) if 0 < bound < 2**31 else 1.0


_BINARY = (
    *(tirx.Add, tirx.Sub, tirx.Mul, tirx.Div, tirx.Mod, tirx.FloorDiv, tirx.FloorMod, tirx.Min, tirx.Max),
    *(tirx.EQ, tirx.NE, tirx.LT, tirx.LE, tirx.GT, tirx.GE, tirx.And, tirx.Or),
)


def _mentions(value: Expr, variables: frozenset[int]) -> bool:
    return any(variable.__hash__() in variables for variable in tirx.analysis.undefined_vars(value, []))
