"""``relax.cumsum`` and ``relax.cumprod``, which TVM leaves to a pass of its own."""

from __future__ import annotations

from tvm import relax, te, topi

from evaluators.compile.legalize.context import Context


def scan(builder: relax.BlockBuilder, call: relax.Call, context: Context) -> relax.Expr | None:
    """Sums or products of all elements up to each."""
    attrs = call.attrs
    accumulate = topi.cumsum if call.op.name == "relax.cumsum" else topi.cumprod
    axis = None if attrs.axis is None else int(attrs.axis)

    def build(data: te.Tensor) -> te.Tensor:
        return accumulate(data, axis, str(call.ty.dtype), bool(attrs.exclusive))

    return builder.call_te(build, call.args[0], primfunc_name_hint="scan")
