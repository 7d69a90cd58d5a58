"""Reorderings and reshapes that need not be done at run time."""

from __future__ import annotations

import numpy as np
from tvm import relax
from tvm.ir import GenericConst

from evaluators.compile.graph.access import Array, array_of, constant


def fold_constant_shapes(function: relax.Function) -> relax.Function:
    """Reorder and reshape constants now, and turn transposes that move no data into reshapes."""
    return _ShapeFolder().visit_expr(function)


@relax.expr_functor.mutator
class _ShapeFolder(relax.PyExprMutator):
    def visit_call_(self, call: relax.Call) -> relax.Expr:
        call = self.visit_expr_post_order(call)
        if not isinstance(call, relax.Call) or call.op.name not in ("relax.permute_dims", "relax.reshape"):
            return call
        source = self._constant(call.args[0])
        shape = [int(extent) for extent in call.ty.shape]
        if call.op.name == "relax.reshape":
            return call if source is None else constant(source.reshape(shape))
        axes = _axes(call)
        if source is not None:
            return constant(np.ascontiguousarray(source.transpose(axes)))
        extents = [int(extent) for extent in call.args[0].ty.shape]
        kept = [axis for axis in axes if extents[axis] > 1]
        return relax.op.reshape(call.args[0], shape) if kept == sorted(kept) else call

    def _constant(self, expression: relax.Expr) -> Array | None:
        if isinstance(expression, relax.Var):
            expression = self.lookup_binding(expression)
        return array_of(expression) if isinstance(expression, GenericConst) else None


def _axes(call: relax.Call) -> list[int]:
    rank = len(call.args[0].ty.shape)
    given = call.attrs.axes
    return [int(axis) % rank for axis in given] if given is not None else list(range(rank))[::-1]
