"""Loops written by hand, for rules that make a kernel's code instead of transforming it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tvm import tirx
from tvm.tirx import For, ForKind, Stmt, Var

from evaluators.compile.rules.stages import Expr

INDEX = "int64"


def index(value: int) -> Expr:
    """A constant index."""
    return tirx.IntImm(INDEX, value)


def loop(
    extent: int | Expr, body: Callable[[Expr], Stmt], name: str = "i", kind: ForKind = ForKind.SERIAL
) -> Stmt:
    """``for name in range(extent)``; without a loop where it would run once."""
    if extent == 1:
        return body(index(0))
    variable = Var(name, INDEX)
    count = index(extent) if isinstance(extent, int) else extent
    return For(variable, index(0), count, kind, body(variable))


def unrolled(extent: int, body: Callable[[Expr], Stmt], name: str = "i") -> Stmt:
    """A loop without a loop: its body once for each value."""
    return loop(extent, body, name, ForKind.UNROLLED)


def vector(lanes: int, body: Callable[[Expr], Stmt]) -> Stmt:
    """All values at once."""
    return loop(lanes, body, "lane", ForKind.VECTORIZED)


def sequence(statements: Iterable[Stmt]) -> Stmt:
    """One after the other."""
    found = list(statements)
    return found[0] if len(found) == 1 else tirx.SeqStmt(found)
