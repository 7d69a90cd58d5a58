"""A kernel read as stages, and what was fused behind its computing stage as one expression.

For rules that write the loops of a kernel themselves instead of transforming those it has.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from tvm import ir, tirx
from tvm.ir import TensorLoad
from tvm.s_tir.stmt import SBlockRealize
from tvm.tirx import IterVar, PrimFunc
from tvm_ffi import structural_map

Expr: TypeAlias = Any
"""``tvm.ir.Expr`` (TVM carries no types that a checker could read)."""
Buffer: TypeAlias = Any
"""A variable of a tensor type."""


@dataclass(frozen=True)
class Stage:
    """``buffer[variables] = value`` over all ``variables``; a sum over ``reduced`` where there are any."""

    name: str
    buffer: Buffer
    variables: tuple[Any, ...]
    extents: tuple[int, ...]
    reduced: tuple[Any, ...]
    value: Expr
    annotations: Mapping[str, object]
    lengths: tuple[int, ...] = ()
    """Extents of the ``reduced``."""


@dataclass(frozen=True)
class Sum:
    """A kernel of one sum of products, ``main``, and element-wise work behind it.

    ``last`` stores ``last.value``, in which ``main.buffer`` is read at ``last.variables`` only. ``spread``, where
    there is one, reads ``last.buffer`` and stores more elements than there are sums (a gate on an image).
    """

    main: Stage
    last: Stage
    spread: Stage | None = None

    @property
    def factors(self) -> tuple[Expr, Expr]:
        """Left and right factor under the sum."""
        product = self.main.value.b
        return product.a, product.b


def open_sum(function: PrimFunc, name: str) -> Sum | None:
    """The kernel as a sum of products in a stage of that name and what is behind; None for any other."""
    stages = _main_first(read_stages(function) or [], name)
    if not stages or not stages[0].name.startswith(name) or any(stage.reduced for stage in stages[1:]):
        return None
    main = stages[0]
    if len(main.reduced) != 1 or not isinstance(main.value, tirx.Add) or not isinstance(main.value.b, tirx.Mul):
        return None
    for at in reversed(range(1, len(stages))):
        last = inlined(stages[1 : at + 1])
        if last.extents != main.extents or not _reads_in_place(last, main.buffer):
            continue
        if at == len(stages) - 1:
            return Sum(main, last)
        spread = inlined(stages[1:], kept=last.buffer)
        if not _reads(spread, main.buffer):
            return Sum(main, last, spread)
    return Sum(main, main, inlined(stages[1:]) if stages[1:] else None)


def _main_first(stages: Sequence[Stage], name: str) -> list[Stage]:
    """The stages with the one of that name first, where it reads none of those before it."""
    at = next((at for at, stage in enumerate(stages) if stage.name.startswith(name)), 0)
    before = stages[:at]
    if any(_reads(stages[at], stage.buffer) for stage in before):
        return list(stages)
    return [*stages[at : at + 1], *before, *stages[at + 1 :]]


def read_stages(function: PrimFunc) -> list[Stage] | None:
    """The stages of an unscheduled kernel in order; None when it has any other form."""
    root = function.body
    if not isinstance(root, SBlockRealize):
        return None
    body = root.block.body
    stages = [_stage(nest) for nest in (body.seq if isinstance(body, tirx.SeqStmt) else [body])]
    return [stage for stage in stages if stage] if all(stages) else None


def _stage(nest: tirx.Stmt) -> Stage | None:
    while isinstance(nest, tirx.For):
        nest = nest.body
    if not isinstance(nest, SBlockRealize) or not isinstance(nest.block.body, tirx.BufferStore):
        return None
    block = nest.block
    spatial = [axis for axis in block.iter_vars if int(axis.iter_type) == int(IterVar.DataPar)]
    summed = [axis for axis in block.iter_vars if int(axis.iter_type) == int(IterVar.CommReduce)]
    reduced, lengths = tuple(axis.var for axis in summed), tuple(int(axis.dom.extent) for axis in summed)
    store = block.body
    variables = tuple(axis.var for axis in spatial)
    extents = tuple(int(axis.dom.extent) for axis in spatial)
    if not is_at(store.indices, variables, extents):
        return None
    notes = dict(block.annotations)
    return Stage(block.name_hint, store.buffer, variables, extents, reduced, store.value, notes, lengths)


def is_at(indices: Sequence[Expr], variables: Sequence[Any], extents: Sequence[int]) -> bool:
    """Whether an access is at exactly these variables (of an axis of one element, anywhere)."""
    return len(indices) == len(variables) and all(
        extent == 1 or index.same_as(variable)
        for index, variable, extent in zip(indices, variables, extents, strict=True)
    )


def substitute(value: Expr, mapping: Mapping[Any, Expr]) -> Expr:
    """The expression with variables replaced."""
    return structural_map(value, (tirx.Var, lambda variable: mapping.get(variable, variable)))


def count_operations(value: Expr) -> int:
    """The nodes of an expression."""
    found = [0]

    def count(node: Expr) -> Expr:
        found[0] += 1
        return node

    structural_map(value, (ir.Expr, count))
    return found[0]


def inlined(stages: Sequence[Stage], kept: Buffer | None = None) -> Stage:
    """The last of some element-wise stages with all the others drawn in, but for the one that stores ``kept``."""
    known: dict[Any, Stage] = {}

    def inline(load: TensorLoad) -> Expr:
        stage = known.get(load.source)
        return substitute(stage.value, dict(zip(stage.variables, load.indices, strict=True))) if stage else load

    for stage in stages:
        last = replace(stage, value=structural_map(stage.value, (TensorLoad, inline)))
        if kept is None or not stage.buffer.same_as(kept):
            known[stage.buffer] = last
    return last


def loads_of(value: Expr) -> list[TensorLoad]:
    """What an expression reads."""
    found: list[TensorLoad] = []

    def note(load: TensorLoad) -> Expr:
        found.append(load)
        return load

    structural_map(value, (TensorLoad, note))
    return found


def _reads(stage: Stage, buffer: Buffer) -> list[TensorLoad]:
    """Where a stage reads a buffer."""
    return [load for load in loads_of(stage.value) if load.source.same_as(buffer)]


def _reads_in_place(stage: Stage, buffer: Buffer) -> bool:
    return all(is_at(load.indices, stage.variables, stage.extents) for load in _reads(stage, buffer))


def unravel(flat: Expr, extents: Sequence[int]) -> list[Expr]:
    """The indices in axes of these extents of an index into all of them; 0 in an axis of one element."""
    wide = [at for at, extent in enumerate(extents) if extent > 1]
    indices = [tirx.const(0, flat.ty.dtype)] * len(extents)
    for at in wide:
        inside = math.prod(extents[at + 1 :])
        index = flat if inside == 1 else flat // inside
        indices[at] = index if at == wide[0] else index % extents[at]
    return indices
