"""What is fused behind a written kernel, as a function from an output and its place to the store of the result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tvm import ir
from tvm.ir.prim.expr import BinaryOpExpr, Cast, CmpExpr, LogicalExpr, Not, Select
from tvm.tirx import BufferLoad, BufferStore, Stmt

from evaluators.compile.kernels.emit import Index, index

Finish = Callable[[ir.Expr, Sequence[Index]], Stmt]
"""Stores one output, given its value and its place, with whatever is fused behind the kernel."""


class FusionError(Exception):
    """A stage that is more than a function of one output and its place."""


def plain(target: Any) -> Finish:
    """The output stored as it is."""
    return lambda value, place: BufferStore(target, value, [index(i) for i in place])


def fused(stage: Any, full: Any) -> Finish:
    """The element-wise ``stage`` (a block) that reads ``full`` at its own place.

    Raises ``FusionError`` for any other stage.
    """
    variables = [axis.var for axis in stage.iter_vars]
    if not isinstance(stage.body, BufferStore) or not _same(stage.body.indices, variables):
        raise FusionError

    def finish(value: ir.Expr, place: Sequence[Index]) -> Stmt:
        def replacement(part: Any) -> Any:
            if isinstance(part, ir.TensorLoad) and part.source.same_as(full):
                if not _same(part.indices, variables):
                    raise FusionError
                return value
            places = (index(at) for variable, at in zip(variables, place, strict=True) if part.same_as(variable))
            return next(places, None)

        return BufferStore(stage.body.buffer, rebuilt(stage.body.value, replacement), [index(i) for i in place])

    finish(BufferLoad(full, variables), variables)
    return finish


def rebuilt(part: Any, replacement: Callable[[Any], Any]) -> Any:
    """An expression with the parts replaced for which there is a replacement, outermost first.

    Raises ``FusionError`` for a kind of node that cannot be rebuilt.
    """
    new = replacement(part)
    if new is not None:
        return new

    def inner(child: Any) -> Any:
        return rebuilt(child, replacement)

    if isinstance(part, ir.Constant | ir.Var):
        return part
    if isinstance(part, ir.TensorLoad):
        return BufferLoad(part.source, [inner(i) for i in part.indices])
    if isinstance(part, Not):
        return Not(inner(part.a))
    if isinstance(part, BinaryOpExpr | CmpExpr | LogicalExpr):
        return type(part)(inner(part.a), inner(part.b))
    if isinstance(part, Select):
        return Select(inner(part.condition), inner(part.true_value), inner(part.false_value))
    if isinstance(part, Cast):
        return Cast(part.ty, inner(part.value))
    if isinstance(part, ir.Call):
        return ir.Call(part.op, [inner(a) for a in part.args], part.attrs, part.ty_args, ret_ty=part.ty)
    raise FusionError


def _same(indices: Sequence[Any], variables: Sequence[Any]) -> bool:
    return len(indices) == len(variables) and all(i.same_as(v) for i, v in zip(indices, variables, strict=True))
