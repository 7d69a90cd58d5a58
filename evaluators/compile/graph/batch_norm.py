"""Batch norm folded into the convolution before it."""

from __future__ import annotations

import numpy as np
from tvm import relax

from evaluators.compile.graph.access import constant
from evaluators.compile.graph.peek import Peek


def folded_batch_norm(part: relax.TupleGetItem, peek: Peek) -> relax.Expr | None:
    """The weights of a convolution scaled by the batch norm behind it, and its shift as a bias."""
    norm = peek.call(part.tuple_value, "nn.batch_norm")
    if norm is None or part.index != 0 or norm.attrs.axis != 1:
        return None
    convolution, before = _with_bias(norm.args[0], peek)
    parts = [peek.array(operand) for operand in norm.args[1:5]]
    weight = peek.array(convolution.args[1]) if convolution is not None else None
    if convolution is None or weight is None or before is None or convolution.attrs.kernel_layout != "OIHW":
        return None
    if any(values is None for values in parts):
        return None
    gamma, beta, mean, variance = (np.asarray(values) for values in parts)
    scale = gamma / np.sqrt(variance + float(norm.attrs.epsilon))
    shift = beta + (before.reshape(-1) - mean) * scale
    weights = constant(np.asarray(weight * scale.reshape(-1, 1, 1, 1), np.float32))
    scaled = relax.Call(convolution.op, [convolution.args[0], weights], convolution.attrs)
    return relax.op.add(scaled, constant(np.asarray(shift.reshape(1, -1, 1, 1), np.float32)))


def _with_bias(expression: relax.Expr, peek: Peek) -> tuple[relax.Call | None, np.ndarray | None]:
    """A convolution and the bias added to it, zero where there is none."""
    added = peek.call(expression, "add")
    if added is None:
        return peek.call(expression, "nn.conv2d"), np.zeros(1, np.float32)
    return peek.call(added.args[0], "nn.conv2d"), peek.array(added.args[1])
