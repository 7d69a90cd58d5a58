"""What is fused behind a written kernel, as a function from an output and its place to the store of the result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tvm import tirx
from tvm.ir import Expr, TensorLoad
from tvm.tirx import BufferStore, Stmt
from tvm_ffi import structural_map

from evaluators.compile.kernels.emit import Index, index

Finish = Callable[[Expr, Sequence[Index]], Stmt]
"""Stores one output, given its value and its place, with whatever is fused behind the kernel."""


def plain(target: Any) -> Finish:
    """The output stored as it is."""
    return lambda value, place: BufferStore(target, value, [index(i) for i in place])


def fused(stage: Any, full: Any) -> Finish | None:
    """The element-wise ``stage`` (a block) that reads ``full`` at its own place; None for any other stage."""
    variables = [axis.var for axis in stage.iter_vars]
    store = stage.body
    if not isinstance(store, BufferStore) or not _same(store.indices, variables):
        return None
    if not all(_same(load.indices, variables) for load in _loads(store.value) if load.source.same_as(full)):
        return None

    def finish(value: Expr, place: Sequence[Index]) -> Stmt:
        known = dict(zip(variables, map(index, place), strict=True))
        mine = structural_map(store.value, (tirx.Var, lambda variable: known.get(variable, variable)))
        whole = structural_map(mine, (TensorLoad, lambda load: value if load.source.same_as(full) else load))
        return BufferStore(store.buffer, whole, list(known.values()))

    return finish


def _loads(value: Expr) -> list[Any]:
    found: list[Any] = []

    def note(load: Any) -> Any:
        found.append(load)
        return load

    structural_map(value, (TensorLoad, note))
    return found


def _same(indices: Sequence[Any], variables: Sequence[Any]) -> bool:
    return len(indices) == len(variables) and all(i.same_as(v) for i, v in zip(indices, variables, strict=True))
