"""``relax.nn.attention`` for GPUs: two products for tensor cores around a softmax."""

from __future__ import annotations

import math

from tvm import relax, te, tirx, topi

from evaluators.compile.legalize.context import Context, whole

_CAUSAL = (None, "TopLeft", "BottomRight")
_OPAQUE = 8
"""TVM's ``OpPatternKind`` of a kernel that nothing is fused with."""


def attention(builder: relax.BlockBuilder, call: relax.Call, context: Context) -> relax.Expr | None:
    """Attention with no mask, an added one, or a causal one; scores and softmax are float32.

    Query, key and value are (batch, tokens, heads, channels); they are read as they lie, so nothing is transposed.
    """
    causal = str(call.attrs.causal_mask) if call.attrs.causal_mask is not None else None
    if causal not in _CAUSAL or call.attrs.window_size is not None:
        return None
    query, key, value, *bias = call.args
    batch, queries, heads, channels = whole(query.ty.shape)
    keys = whole(key.ty.shape)[1]
    scale = float(call.attrs.scale) if call.attrs.scale is not None else 1 / math.sqrt(channels)
    hidden = keys - queries if causal == "BottomRight" else 0

    def scores(q: te.Tensor, k: te.Tensor, *added: te.Tensor) -> te.Tensor:
        axis = te.reduce_axis((0, channels), "channel")
        product = te.compute(
            (batch, heads, queries, keys),
            lambda b, h, i, j: te.sum(_single(q[b, i, h, axis]) * _single(k[b, j, h, axis]), axis),
            "scores",
        )

        def finished(b: tirx.Var, h: tirx.Var, i: tirx.Var, j: tirx.Var) -> tirx.PrimExpr:
            score = product[b, h, i, j] * tirx.const(scale, "float32")
            for mask in added:
                score += _single(mask[tuple(_shared(mask, axis, at) for axis, at in enumerate((b, h, i, j)))])
            return score if causal is None else tirx.Select(j <= i + hidden, score, tirx.min_value("float32"))

        return te.compute((batch, heads, queries, keys), finished, "scaled")

    def mixed(weights: te.Tensor, v: te.Tensor) -> te.Tensor:
        axis = te.reduce_axis((0, keys), "key")
        shape = (batch, queries, heads, whole(v.shape)[3])
        product = te.compute(
            shape,
            lambda b, i, h, c: te.sum(_single(weights[b, h, i, axis]) * _single(v[b, axis, h, c]), axis),
            "mixed",
        )
        return topi.cast(product, str(call.ty.dtype))

    def weights(scored: te.Tensor) -> te.Tensor:
        return topi.cast(topi.nn.softmax(scored, axis=-1), str(value.ty.dtype))

    opaque = {"op_pattern": _OPAQUE}
    scored = builder.emit_te(scores, query, key, *bias, primfunc_name_hint="scores", primfunc_attrs=opaque)
    shares = builder.emit_te(weights, scored, primfunc_name_hint="softmax", primfunc_attrs=opaque)
    return builder.call_te(mixed, shares, value, primfunc_name_hint="mixed", primfunc_attrs=opaque)


def _single(value: tirx.PrimExpr) -> tirx.PrimExpr:
    return value.astype("float32")


def _shared(mask: te.Tensor, axis: int, at: tirx.Var) -> tirx.PrimExpr:
    """The mask's index along an axis, which all share where it has one entry there."""
    return 0 if int(mask.shape[axis]) == 1 else at
