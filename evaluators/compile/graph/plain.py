"""Operators written as the plainer ones that they are, which lay out and fuse better."""

from __future__ import annotations

import math
from typing import Any

from tvm import relax
from tvm.relax.dpl import is_op, rewrite_call, wildcard

from evaluators.compile.graph.access import number_of


def split_clips(function: relax.Function) -> relax.Function:
    """Write clip as maximum and minimum with constants, which lay out and fuse like any element-wise operator."""
    data, low, high = wildcard(), wildcard(), wildcard()

    def rewrite(_: relax.Expr, matches: Any) -> relax.Expr:
        result = matches[data]
        dtype = result.ty.dtype
        bottom, top = number_of(matches[low]), number_of(matches[high])
        if bottom > -math.inf:
            result = relax.op.maximum(result, relax.const(bottom, dtype))
        if top < math.inf:
            result = relax.op.minimum(result, relax.const(top, dtype))
        return result

    return rewrite_call(is_op("relax.clip")(data, low, high), rewrite, function)


def pool_by_mean(function: relax.Function) -> relax.Function:
    """Write average pooling to one pixel as the mean that it is."""
    data = wildcard()
    pool = is_op("relax.nn.adaptive_avg_pool2d")(data)

    def rewrite(found: relax.Expr, matches: Any) -> relax.Expr:
        attrs = matches[pool].attrs
        if attrs.layout != "NCHW" or [int(size) for size in attrs.output_size] != [1, 1]:
            return found
        return relax.op.mean(matches[data], axis=[2, 3], keepdims=True)

    return rewrite_call(pool, rewrite, function)
