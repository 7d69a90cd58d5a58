"""``relax.take`` by indices that are inside (TVM's own remarks to standard error on each), or of packed tables."""

from __future__ import annotations

from tvm import relax, te
from tvm.ir import GenericConst

from evaluators.compile.kernels.dense import columns
from evaluators.compile.legalize.context import Context, whole
from evaluators.compile.legalize.dense import packed_dense


def taken(builder: relax.BlockBuilder, call: relax.Call, context: Context) -> relax.Expr | None:
    """Rows, or an axis, picked by constant indices; they were checked when the network was imported."""
    if call.attrs.mode != "fast" or call.attrs.axis is None:
        return None
    data, indices = call.args
    axis = int(call.attrs.axis) % len(data.ty.shape)
    return builder.call_te(lambda x, at: picked(x, at, axis), data, indices, primfunc_name_hint="take")


def token_rows(builder: relax.BlockBuilder, call: relax.Call, context: Context) -> relax.Expr | None:
    """Rows of a table whose transpose is multiplied by as well: read from where that is packed.

    Indices count from the end where they are negative, and none is outside.
    """
    data, indices = call.args
    tokens, *inner = whole(data.ty.shape)
    if call.attrs.mode != "wrap" or call.attrs.axis != 0 or len(inner) != 1 or not isinstance(data, GenericConst):
        return None
    size = inner[0], tokens
    if size not in context.packing.tables:
        return None
    panels = packed_dense(data.value.numpy().T, context.packing.panels[size])

    def build(matrix: te.Tensor, at: te.Tensor) -> te.Tensor:
        return columns(matrix, at, size)

    return builder.call_te(build, relax.const(panels), indices, primfunc_name_hint="take")


def picked(data: te.Tensor, indices: te.Tensor, axis: int) -> te.Tensor:
    """``data`` with its axis replaced by those of ``indices``, as numpy's ``take`` has them."""
    shape = [*data.shape[:axis], *indices.shape, *data.shape[axis + 1 :]]
    last = axis + len(indices.shape)

    def element(*index: te.Var) -> te.PrimExpr:
        return data[(*index[:axis], indices[index[axis:last]], *index[last:])]

    return te.compute(shape, element, name="take")
