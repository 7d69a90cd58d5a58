"""Loops and vectors of kernels that are written out instead of scheduled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tvm import tirx
from tvm.ir import Expr, Range
from tvm.tirx import BufferLoad, BufferStore, For, ForKind, SeqStmt, Stmt, Var

INDEX = "int64"
Index = Any
"""A whole number or an expression of 64 bits."""


def loop(extent: Index, body: Callable[[Index], Stmt], name: str = "i", kind: ForKind = ForKind.SERIAL) -> Stmt:
    """``body`` for each of ``extent`` steps; a single step needs no loop."""
    if isinstance(extent, int) and extent == 1:
        return body(whole(0))
    variable = Var(name, INDEX)
    return For(variable, whole(0), index(extent), kind, body(variable))


def unrolled(extent: int, body: Callable[[Index], Stmt], name: str = "i") -> Stmt:
    """A loop without a loop: its body once for each value."""
    return loop(extent, body, name, ForKind.UNROLLED)


def vector(lanes: int, body: Callable[[Index], Stmt]) -> Stmt:
    """All values at once."""
    return loop(lanes, body, "lane", ForKind.VECTORIZED)


def sequence(*statements: Stmt) -> Stmt:
    """Statements one after the other."""
    return SeqStmt(list(statements)) if len(statements) > 1 else statements[0]


def when(condition: Expr | bool, then: Stmt, otherwise: Stmt | None = None) -> Stmt:
    """``then`` under a condition, or as it is where the condition always holds."""
    if condition is True:
        return then
    return tirx.IfThenElse(condition, then, otherwise)


def whole(number: int) -> Expr:
    """A constant index."""
    return tirx.IntImm(INDEX, number)


def buffer(name: str, *shape: int) -> Any:
    """A buffer of floats of the kernel's own."""
    return tirx.decl_buffer([whole(extent) for extent in shape], "float32", name, layout=None)


def ramp(start: Index, lanes: int) -> Expr:
    """The indices of a vector."""
    return tirx.Ramp(index(start), whole(1), lanes) if lanes > 1 else index(start)


def index(value: Index) -> Expr:
    """A number or an expression as an expression."""
    return whole(value) if isinstance(value, int) else value


def load(source: Any, at: Sequence[Index], lanes: int) -> Expr:
    """A vector of the last axis."""
    return BufferLoad(source, [*(index(i) for i in at[:-1]), ramp(at[-1], lanes)])


def store(target: Any, value: Expr, at: Sequence[Index], lanes: int) -> Stmt:
    """Write a vector of the last axis."""
    return BufferStore(target, value, [*(index(i) for i in at[:-1]), ramp(at[-1], lanes)])


def constant(value: float, lanes: int) -> Expr:
    """A vector of one number."""
    number = tirx.FloatImm("float32", value)
    return tirx.Broadcast(number, lanes) if lanes > 1 else number


def vector_type(lanes: int) -> str:
    """The type of a vector of floats."""
    return f"float32x{lanes}" if lanes > 1 else "float32"


def bind(value: Expr, lanes: int, statements: list[Stmt], name: str = "v") -> Var:
    """A value computed once, by a statement added to ``statements``."""
    variable = Var(name, vector_type(lanes))
    statements.append(tirx.Bind(variable, value))
    return variable


def over_channels(count: int, lanes: int, body: Callable[[Index, int], Stmt]) -> Stmt:
    """``body(first channel, lanes)`` over whole vectors of channels, then over the narrower rest."""
    parts = []
    if count >= lanes:
        parts.append(loop(count // lanes, lambda c: body(c * lanes, lanes), name="c"))
    if count % lanes:
        parts.append(body(whole(count // lanes * lanes), count % lanes))
    return sequence(*parts)


def whole_region(source: Any) -> Any:
    """All of a buffer, as what a stage reads or writes."""
    return tirx.BufferRegion(source, [Range(0, extent) for extent in source.shape])
