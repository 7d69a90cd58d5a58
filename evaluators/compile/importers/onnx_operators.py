"""ONNX operators that TVM's converters get wrong, leave out, or spell so that nothing fuses or is recognised."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np
import onnx
from tvm import relax
from tvm.ir import GenericConst

from evaluators.compile.importers.onnx_recurrent import recurrent

Arguments = Sequence[Any]
"""Relax expressions, None where an optional one is left out."""
Attributes = Mapping[str, Any]
Converter = Callable[[relax.BlockBuilder, Arguments, Attributes], relax.Expr]


def _gather(builder: relax.BlockBuilder, arguments: Arguments, attributes: Attributes) -> relax.Expr:
    """Indices count from the end where they are negative, which is what wrapping does."""
    data, indices = arguments
    return relax.op.take(data, indices, attributes.get("axis", 0), mode="wrap")


def _cast(builder: relax.BlockBuilder, arguments: Arguments, attributes: Attributes) -> relax.Expr:
    dtype = onnx.helper.tensor_dtype_to_np_dtype(attributes["to"])
    return relax.op.astype(arguments[0], str(dtype))


def _clip(builder: relax.BlockBuilder, arguments: Arguments, attributes: Attributes) -> relax.Expr:
    """Bounds are attributes before opset 11 and inputs from there on, either of which may be left out."""
    data, *bounds = arguments
    low = bounds[0] if bounds else attributes.get("min")
    high = bounds[1] if len(bounds) > 1 else attributes.get("max")
    dtype = str(data.ty.dtype)
    for bound, limit, idle in ((low, relax.op.maximum, -math.inf), (high, relax.op.minimum, math.inf)):
        value = bound.value.numpy().item() if isinstance(bound, GenericConst) else bound
        if isinstance(value, int | float):
            value = None if value == idle else relax.const(value, dtype)
        data = data if value is None else builder.emit(limit(data, value))
    return data


def _pairwise(operator: Callable[[relax.Expr, relax.Expr], relax.Expr]) -> Converter:
    def convert(builder: relax.BlockBuilder, arguments: Arguments, attributes: Attributes) -> relax.Expr:
        return reduce(lambda left, right: builder.emit(operator(left, right)), arguments)

    return convert


def _gemm(builder: relax.BlockBuilder, arguments: Arguments, attributes: Attributes) -> relax.Expr:
    """Scales of 1 leave no trace, others are drawn into what is constant."""
    left, right, *added = arguments
    dtype = str(left.ty.dtype)
    if attributes.get("transA", 0):
        left = relax.op.permute_dims(left, [1, 0])
    product = relax.op.matmul(left, _transposed(right) if attributes.get("transB", 0) else right)
    product = _scaled(product, attributes.get("alpha", 1.0), dtype)
    if not added or added[0] is None:
        return product
    return relax.op.add(product, _scaled(added[0], attributes.get("beta", 1.0), dtype))


def _pad(builder: relax.BlockBuilder, arguments: Arguments, attributes: Attributes) -> relax.Expr:
    """Widths are an attribute before opset 11; opset 18 may name the axes that they are of."""
    data, *given = arguments
    pads, value, axes = (*(_known(each) for each in given), None, None, None)[:3]
    if pads is None:
        pads, value = np.array(attributes["pads"]), attributes.get("value")
    rank = len(data.ty.shape)
    widths = np.zeros((rank, 2), int)
    widths[np.arange(rank) if axes is None else axes % rank] = np.reshape(pads, (2, -1)).T
    mode = attributes.get("mode", b"constant").decode()
    if mode not in _PAD_MODES:
        raise ValueError(f"its mode {mode} is not known")
    filling = 0.0 if value is None else float(np.asarray(value).item())
    return relax.op.nn.pad(data, widths.ravel().tolist(), _PAD_MODES[mode], filling)


_PAD_MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


def _known(value: relax.Expr | None) -> Any:
    if value is not None and not isinstance(value, GenericConst):
        raise ValueError("its widths depend on the input")
    return None if value is None else value.value.numpy()


def _transposed(matrix: relax.Expr) -> relax.Expr:
    if isinstance(matrix, GenericConst):
        return constant(matrix.value.numpy().T)
    return relax.op.permute_dims(matrix, [1, 0])


def _scaled(value: relax.Expr, factor: float, dtype: str) -> relax.Expr:
    if factor == 1:
        return value
    if isinstance(value, GenericConst):
        array = value.value.numpy()
        return constant((array * factor).astype(array.dtype))
    return relax.op.multiply(value, relax.const(factor, dtype))


def constant(array: np.ndarray[Any, Any]) -> GenericConst:
    """A constant of the array's own dtype; relax would make int32 of int64."""
    return relax.const(np.ascontiguousarray(array).reshape(array.shape), str(array.dtype))


OPERATORS: Mapping[str, Converter] = {
    "Cast": _cast,
    "Clip": _clip,
    "Gather": _gather,
    "Gemm": _gemm,
    "Max": _pairwise(relax.op.maximum),
    "Min": _pairwise(relax.op.minimum),
    "Pad": _pad,
    **{kind: recurrent(kind) for kind in ("LSTM", "GRU", "RNN")},
}
