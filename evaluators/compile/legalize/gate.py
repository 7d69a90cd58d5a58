"""Products with a gate: one number for each channel of a whole image."""

from __future__ import annotations

import math

from tvm import relax, te, topi
from tvm.ir import GenericConst

from evaluators.compile.legalize.context import Context, whole

_INJECTIVE = 2
"""TVM's name of operators that are not drawn into the matrix product before them."""


def gated(builder: relax.BlockBuilder, call: relax.Call, context: Context) -> relax.Expr | None:
    """A product of an image with what was computed from it is a kernel of its own.

    TVM would draw the large product into the small layer that computes the gate.
    """
    left, right = call.args
    shape = whole(call.ty.shape)
    sizes = [whole(operand.ty.shape) for operand in (left, right)]
    small = [size for size in sizes if size != shape]
    if (
        len(small) != 1
        or math.prod(small[0]) == 1
        or any(isinstance(operand, GenericConst) for operand in (left, right))
    ):
        return None

    def build(x: te.Tensor, y: te.Tensor) -> te.Tensor:
        return topi.multiply(x, y)

    return builder.call_te(
        build, left, right, primfunc_name_hint="gated", primfunc_attrs={"op_pattern": _INJECTIVE}
    )
