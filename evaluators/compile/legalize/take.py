"""``relax.take`` by indices that are known to be inside: TVM's own remarks to standard error on each."""

from __future__ import annotations

from tvm import relax, te

from evaluators.compile.legalize.context import Context


def taken(builder: relax.BlockBuilder, call: relax.Call, context: Context) -> relax.Expr | None:
    """Rows, or an axis, picked by constant indices; they were checked when the network was imported."""
    if call.attrs.mode != "fast" or call.attrs.axis is None:
        return None
    data, indices = call.args
    axis = int(call.attrs.axis) % len(data.ty.shape)
    return builder.call_te(lambda x, at: picked(x, at, axis), data, indices, primfunc_name_hint="take")


def picked(data: te.Tensor, indices: te.Tensor, axis: int) -> te.Tensor:
    """``data`` with its axis replaced by those of ``indices``, as numpy's ``take`` has them."""
    shape = [*data.shape[:axis], *indices.shape, *data.shape[axis + 1 :]]
    last = axis + len(indices.shape)

    def element(*index: te.Var) -> te.PrimExpr:
        return data[(*index[:axis], indices[index[axis:last]], *index[last:])]

    return te.compute(shape, element, name="take")
