"""``relax.permute_dims`` that moves the last axis, which needs tiles."""

from __future__ import annotations

from tvm import relax, te

from evaluators.compile.kernels.transpose import transposed
from evaluators.compile.legalize.context import Context, whole

_OPAQUE = 8
"""TVM's name of kernels that nothing is fused with: reshapes around them then cost nothing at all."""


def transpose(builder: relax.BlockBuilder, call: relax.Call, context: Context) -> relax.Expr | None:
    """A permutation that ends with another axis than its operand; others copy whole rows."""
    rank = len(whole(call.ty.shape))
    given = call.attrs.axes
    axes = [axis % rank for axis in whole(given)] if given is not None else list(range(rank))[::-1]
    if not axes or axes[-1] == rank - 1:
        return None

    def build(data: te.Tensor) -> te.Tensor:
        return transposed(data, axes)

    attributes = {"op_pattern": _OPAQUE}
    return builder.call_te(build, call.args[0], primfunc_name_hint="transpose", primfunc_attrs=attributes)
