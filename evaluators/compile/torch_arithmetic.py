"""Element-wise operators of torch that TVM's importer has none for or gets wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from torch import fx
from tvm import relax
from tvm.ir import Expr

from evaluators.compile.torch_arguments import arguments


def _elu(node: fx.Node, importer: Any) -> relax.Var:
    """``aten.elu`` with all its scales, as SELU is decomposed; TVM's importer knows one."""
    given, emit = arguments(node, importer), importer.block_builder.emit
    data, dtype = given["self"], str(given["self"].ty.dtype)
    alpha, scale, inner = (float(given[name]) for name in ("alpha", "scale", "input_scale"))
    zero, one = (relax.const(number, dtype) for number in (0.0, 1.0))
    inside = emit(relax.op.multiply(relax.op.minimum(data, zero), relax.const(inner, dtype)))
    below = emit(relax.op.multiply(relax.op.subtract(relax.op.exp(inside), one), relax.const(alpha, dtype)))
    both = emit(relax.op.add(relax.op.maximum(data, zero), below))
    return emit(relax.op.multiply(both, relax.const(scale, dtype)))


def _of_whole_numbers(operator: Callable[..., relax.Expr]) -> Callable[[fx.Node, Any], relax.Var]:
    """An operator of a tensor and a tensor or number, in the type of the result's operands."""

    def convert(node: fx.Node, importer: Any) -> relax.Var:
        left, right = importer.retrieve_args(node)[:2]
        dtype = str(left.ty.dtype)
        if not isinstance(right, Expr):
            dtype = "float32" if isinstance(right, float) and "float" not in dtype else dtype
            right = relax.const(right, dtype)
        elif str(right.ty.dtype) != dtype:
            dtype = str(np.promote_types(dtype, str(right.ty.dtype)))
            right = relax.op.astype(right, dtype)
        if str(left.ty.dtype) != dtype:
            left = relax.op.astype(left, dtype)
        return importer.block_builder.emit(operator(left, right))

    return convert


def _quotient(node: fx.Node, importer: Any) -> relax.Var:
    """``aten.div``, of whole numbers too, which TVM's importer divides without the fraction."""
    dtype = str(node.meta["val"].dtype).removeprefix("torch.")
    operands = []
    for each in importer.retrieve_args(node)[:2]:
        if not isinstance(each, Expr):
            operands.append(relax.const(each, dtype))
        else:
            operands.append(each if str(each.ty.dtype) == dtype else relax.op.astype(each, dtype))
    return importer.block_builder.emit(relax.op.divide(*operands))


def _rounded_quotient(node: fx.Node, importer: Any) -> relax.Var:
    """``aten.div`` rounded down or towards zero, of whole numbers or floats."""
    mode, emit = node.kwargs.get("rounding_mode"), importer.block_builder.emit
    whole = "float" not in str(node.meta["val"].dtype)
    if mode == "floor":
        return _of_whole_numbers(relax.op.floor_divide)(node, importer)
    quotient = _of_whole_numbers(relax.op.divide)(node, importer)
    return quotient if whole or mode is None else emit(relax.op.trunc(quotient))


def _compared(operator: Callable[..., relax.Expr]) -> Callable[[fx.Node, Any], relax.Var]:
    """Booleans compared with a number, as whole numbers."""

    def convert(node: fx.Node, importer: Any) -> relax.Var:
        left, right = importer.retrieve_args(node)[:2]
        dtype = str(left.ty.dtype)
        if dtype == "bool":
            left, dtype = relax.op.astype(left, "int32"), "int32"
        if isinstance(right, float) and "float" not in dtype:
            left, dtype = relax.op.astype(left, "float32"), "float32"
        return importer.block_builder.emit(operator(left, relax.const(right, dtype)))

    return convert


def _unary(formula: Callable[[relax.Expr, str], relax.Expr]) -> Callable[[fx.Node, Any], relax.Var]:
    def convert(node: fx.Node, importer: Any) -> relax.Var:
        data = importer.retrieve_args(node)[0]
        return importer.block_builder.emit(formula(data, str(data.ty.dtype)))

    return convert


def _exp2(data: relax.Expr, dtype: str) -> relax.Expr:
    return relax.op.exp(relax.op.multiply(data, relax.const(math.log(2), dtype)))


def _erfc(data: relax.Expr, dtype: str) -> relax.Expr:
    return relax.op.subtract(relax.const(1.0, dtype), relax.op.erf(data))


def _hypot(node: fx.Node, importer: Any) -> relax.Var:
    squares = [relax.op.multiply(each, each) for each in importer.retrieve_args(node)]
    return importer.block_builder.emit(relax.op.sqrt(relax.op.add(*squares)))


CONVERTERS: Mapping[str, Callable[[fx.Node, Any], relax.Var]] = {
    "elu.default": _elu,
    "floor_divide.default": _of_whole_numbers(relax.op.floor_divide),
    "div.Scalar": _quotient,
    "div.Tensor": _quotient,
    "div.Tensor_mode": _rounded_quotient,
    "remainder.Scalar": _of_whole_numbers(relax.op.floor_mod),
    **{
        f"__{name}shift__.{kind}": _of_whole_numbers(operator)
        for name, operator in (("l", relax.op.left_shift), ("r", relax.op.right_shift))
        for kind in ("Scalar", "Tensor")
    },
    "eq.Scalar": _compared(relax.op.equal),
    "ne.Scalar": _compared(relax.op.not_equal),
    "exp2.default": _unary(_exp2),
    "erfc.default": _unary(_erfc),
    "hypot.default": _hypot,
}
