"""Batch norm folded into the convolution before it."""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import relax
from tvm.relax.dpl import TupleGetItemPattern, is_const, is_op, rewrite_call, wildcard

from evaluators.compile.graph.access import array_of, constant


def fold_batch_norm(function: relax.Function) -> relax.Function:
    """Scale the weights of a convolution by the batch norm behind it, and add its shift as a bias."""
    weight = is_const()
    parts = [is_const() for _ in range(4)]
    image = wildcard()
    plain = is_op("relax.nn.conv2d")(image, weight)
    bias = is_const()
    biased = is_op("relax.add")(plain, bias)
    for convolution in (biased, plain):
        norm = is_op("relax.nn.batch_norm")(convolution, *parts)

        def rewrite(found: relax.Expr, matches: Any, norm: Any = norm) -> relax.Expr:
            call, layer = matches[plain], matches[norm]
            if layer.attrs.axis != 1 or call.attrs.kernel_layout != "OIHW":
                return found
            gamma, beta, mean, variance = (array_of(matches[part]) for part in parts)
            scale = gamma / np.sqrt(variance + float(layer.attrs.epsilon))
            before = array_of(matches[bias]).reshape(-1) if bias in matches else np.float32(0)
            shift = beta + (before - mean) * scale
            scaled = relax.Call(
                call.op,
                [matches[image], constant(array_of(matches[weight]) * scale.reshape(-1, 1, 1, 1))],
                call.attrs,
            )
            return relax.op.add(scaled, constant(shift.reshape(1, -1, 1, 1)))

        function = rewrite_call(TupleGetItemPattern(norm, 0), rewrite, function)
    return function
