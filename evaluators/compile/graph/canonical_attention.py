"""Decomposed attention: softmax(scale q k^T + bias) v over (batch, heads, tokens, channels)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tvm import relax, tirx

from evaluators.compile.graph.peek import Peek

_HEADS_INSIDE = (0, 2, 1, 3)
"""Between (batch, heads, tokens, channels) and the (batch, tokens, heads, channels) of ``nn.attention``."""


def guarded_softmax(call: relax.Call, peek: Peek) -> relax.Expr | None:
    """A softmax whose rows that hide everything are set to zero, where no row is known to hide everything."""
    guarded = _guarded(call, peek)
    softmax = peek.call(guarded, "nn.softmax") if guarded is not None else None
    if softmax is None:
        return None
    scores = peek.call(softmax.args[0], "add")
    if scores is None:
        return guarded
    masks = [mask for mask in map(peek.array, scores.args) if mask is not None]
    visible = bool(masks) and bool(np.isfinite(masks[0]).any(axis=-1).all())
    return guarded if visible else None


def attention(call: relax.Call, peek: Peek) -> relax.Expr | None:
    """A product with a softmax as attention; rows that hide everything stay zero where the file says so."""
    weights, value = call.args
    guarded = peek.call(weights, "where")
    held = _guarded(guarded, peek) if guarded is not None else weights
    softmax = peek.call(held, "nn.softmax") if held is not None else None
    if softmax is None or not _is_heads(value) or int(softmax.attrs.axis) not in (-1, 3):
        return None
    scores, bias = _biased(softmax.args[0], peek)
    scores, scale = peek.scaled(scores)
    product = peek.call(scores, "matmul")
    if product is None or not all(map(_is_heads, product.args)):
        return None
    query, more = peek.scaled(product.args[0])
    key, most = peek.scaled(product.args[1])
    if _shape(query)[:2] != _shape(key)[:2] or _shape(query)[:2] != _shape(value)[:2]:
        return None
    result = relax.op.nn.attention(
        permuted(query, _HEADS_INSIDE, peek),
        permuted(unfolded(key, peek), (0, 3, 1, 2), peek),
        permuted(value, _HEADS_INSIDE, peek),
        bias,
        tirx.FloatImm("float32", scale * more * most),
    )
    answer = relax.op.permute_dims(result, list(_HEADS_INSIDE))
    if guarded is None:
        return answer
    return relax.op.where(relax.op.isnan(answer), relax.const(0.0, "float32"), answer)


def unfolded_product(call: relax.Call, peek: Peek) -> relax.Expr | None:
    """A product whose heads were folded into the batch for it, without that; attention if it is one."""
    product = peek.call(call.args[0], "matmul")
    pair = [_unfolded(operand, peek) for operand in product.args] if product is not None else []
    if len(pair) != 2 or pair[0] is None or pair[1] is None:
        return None
    left, right = _shape(pair[0]), _shape(pair[1])
    if left[:2] != right[:2] or _shape(call) != (*left[:3], right[3]):
        return None
    whole = relax.op.matmul(*pair)
    answer = attention(whole, peek)
    return whole if answer is None else answer


def _unfolded(expression: relax.Expr, peek: Peek) -> relax.Expr | None:
    """What (batch, heads, M, N) was before it became (batch x heads, M, N)."""
    folded = peek.call(expression, "reshape")
    if folded is None:
        return None
    inner = folded.args[0]
    stretched = peek.call(inner, "broadcast_to")
    if stretched is not None and _shape(stretched) == _shape(stretched.args[0]):
        inner = stretched.args[0]
    shape, whole = _shape(folded), _shape(inner)
    return inner if len(shape) == 3 and len(whole) == 4 and whole[2:] == shape[1:] else None


def permuted(expression: relax.Expr, axes: Sequence[int], peek: Peek) -> relax.Expr:
    """The expression with its axes in that order; one permutation where it is permuted already."""
    inner = peek.call(expression, "permute_dims")
    if inner is not None and inner.attrs.axes is not None:
        axes = [int(inner.attrs.axes[axis]) for axis in axes]
        expression = inner.args[0]
    return expression if list(axes) == sorted(axes) else relax.op.permute_dims(expression, list(axes))


def unfolded(key: relax.Expr, peek: Peek) -> relax.Expr:
    """A transposed key whose heads were folded into the batch meanwhile, without that detour."""
    outer = peek.call(key, "reshape")
    turned = peek.call(outer.args[0], "permute_dims") if outer is not None else None
    inner = peek.call(turned.args[0], "reshape") if turned is not None else None
    if turned is None or inner is None or [int(axis) for axis in turned.attrs.axes or ()] != [0, 2, 1]:
        return key
    batch, heads, channels, tokens = _shape(key)
    if _shape(inner.args[0]) != (batch, heads, tokens, channels) or _shape(inner)[1:] != (tokens, channels):
        return key
    return relax.op.permute_dims(inner.args[0], [0, 1, 3, 2])


def _guarded(call: relax.Call, peek: Peek) -> relax.Expr | None:
    """The softmax in ``where(isnan(softmax), 0, softmax)``."""
    test = peek.call(call.args[0], "isnan")
    kept = call.args[2]
    whole = test is not None and test.args[0].same_as(kept) and peek.number(call.args[1]) == 0
    return kept if whole and peek.call(kept, "nn.softmax") is not None else None


def _biased(scores: relax.Expr, peek: Peek) -> tuple[relax.Expr, relax.Expr | None]:
    """The scores and what is added to them, when one of the two is no product; a known mask may lack axes."""
    total = peek.call(scores, "add")
    if total is None:
        return scores, None
    for product, bias in (total.args, reversed(total.args)):
        if peek.call(peek.scaled(product)[0], "matmul") is None:
            continue
        known = peek.array(bias)
        if known is not None and 0 < known.ndim < 4:
            return product, relax.const(known.reshape((1,) * (4 - known.ndim) + known.shape), str(known.dtype))
        if len(bias.ty.shape) == 4:
            return product, bias
    return scores, None


def _is_heads(expression: relax.Expr) -> bool:
    return len(expression.ty.shape) == 4 and str(expression.ty.dtype) == "float32"


def _shape(expression: relax.Expr) -> tuple[int, ...]:
    return tuple(int(extent) for extent in expression.ty.shape)
