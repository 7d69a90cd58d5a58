"""Decomposed layer norm: (x - mean) / sqrt(mean of squares + epsilon), then scale and shift."""

from __future__ import annotations

import numpy as np
from tvm import relax

from evaluators.compile.graph.access import constant
from evaluators.compile.graph.peek import Peek


def layer_norm(call: relax.Call, peek: Peek) -> relax.Expr | None:
    """The quotient, or product with a reciprocal root, as a layer norm over the last axis; scale 1, shift 0."""
    found = _parts(call, peek)
    if found is None:
        return None
    centred, spread, epsilon = found
    difference = peek.call(centred, "subtract")
    if difference is None:
        return None
    data, mean = difference.args
    rank = len(data.ty.shape)
    if not _is_mean_of(mean, data, rank, peek) or not _is_mean_square(spread, centred, data, rank, peek):
        return None
    width, dtype = int(data.ty.shape[-1]), str(data.ty.dtype)
    scale, shift = (constant(np.full(width, value, dtype)) for value in (1, 0))
    return relax.op.nn.layer_norm(data, scale, shift, axes=[-1], epsilon=epsilon)


def affine(call: relax.Call, peek: Peek) -> relax.Expr | None:
    """A constant that scales or shifts a layer norm, drawn into it."""
    for norm, other in (call.args, reversed(call.args)):
        inner, value = peek.call(norm, "nn.layer_norm"), peek.array(other)
        if inner is None or value is None or len(inner.attrs.axes) != 1:
            continue
        scale, shift = (peek.array(argument) for argument in inner.args[1:3])
        if scale is None or shift is None or value.size != scale.size or value.shape[-1:] != scale.shape:
            continue
        value = value.reshape(-1)
        if call.op.name == "relax.add":
            shift = shift + value
        else:
            scale, shift = scale * value, shift * value
        attrs = inner.attrs
        return relax.op.nn.layer_norm(
            inner.args[0], constant(scale), constant(shift), axes=list(attrs.axes), epsilon=float(attrs.epsilon)
        )
    return None


def _parts(call: relax.Call, peek: Peek) -> tuple[relax.Expr, relax.Expr, float] | None:
    """What is divided, the mean of squares in the root, and epsilon."""
    pairs = [(call.args[0], call.args[1], "sqrt")]
    if call.op.name == "relax.multiply":
        pairs = [(call.args[0], call.args[1], "rsqrt"), (call.args[1], call.args[0], "rsqrt")]
    for centred, divisor, name in pairs:
        root = peek.call(divisor, name)
        inner = peek.with_number(root.args[0], "add") if root is not None else None
        if inner is not None:
            return centred, *inner
    return None


def _is_mean_of(mean: relax.Expr, data: relax.Expr, rank: int, peek: Peek) -> bool:
    call = peek.call(mean, "mean")
    return call is not None and call.args[0].same_as(data) and _over_last(call, rank)


def _is_mean_square(spread: relax.Expr, centred: relax.Expr, data: relax.Expr, rank: int, peek: Peek) -> bool:
    variance = peek.call(spread, "variance")
    if variance is not None:
        return variance.args[0].same_as(data) and _over_last(variance, rank)
    mean = peek.call(spread, "mean")
    if mean is None or not _over_last(mean, rank):
        return False
    square = peek.call(mean.args[0], "power", "multiply", "square")
    if square is None or not _same(square.args[0], centred, peek):
        return False
    name = square.op.name.removeprefix("relax.")
    if name == "power":
        return peek.number(square.args[1]) == 2
    return name == "square" or _same(square.args[1], centred, peek)


def _same(one: relax.Expr, other: relax.Expr, peek: Peek) -> bool:
    """Whether both are the same value, be it computed twice (exporters repeat x - mean)."""
    if one.same_as(other):
        return True
    first, second = peek.call(one, "subtract"), peek.call(other, "subtract")
    return (
        first is not None
        and second is not None
        and all(left.same_as(right) for left, right in zip(first.args, second.args, strict=True))
    )


def _over_last(call: relax.Call, rank: int) -> bool:
    axes = [int(axis) % rank for axis in call.attrs.axis or ()]
    return axes == [rank - 1] and bool(call.attrs.keepdims)
