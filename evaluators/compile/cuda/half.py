"""Networks in float16 with float32 sums, which is what tensor cores compute."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import relax
from tvm.ir import GenericConst

from understudy import CompileError

_ATTENTIONS = ("relax.nn.attention", "relax.nn.attention_bias")


def to_half(module: tvm.IRModule) -> tvm.IRModule:
    """The network in float16; its inputs and outputs keep their types.

    Convolutions and products take float16 and sum in float32; reductions and norms compute in float32
    (Micikevicius et al., "Mixed Precision Training", 2018). Raises ``CompileError`` for attention through a
    window, which nothing computes.
    """
    if any(call.attrs.window_size is not None for call in _attentions(module["main"])):
        raise CompileError("attention through a window is not compiled for GPUs: put the window in its mask")
    module["main"] = _Spelled().visit_expr(module["main"])
    module = relax.transform.Normalize()(module)
    masked = _attentions(module["main"])
    module = relax.transform.ToMixedPrecision(out_dtype="float32")(module)
    module["main"] = _Tidied(masked).visit_expr(module["main"])
    return relax.transform.CanonicalizeBindings()(module)


def _attentions(function: relax.Function) -> Iterator[relax.Call]:
    """The function's attentions in order, as they are now."""
    calls = [binding.value for block in function.body.blocks for binding in block.bindings]
    return iter([call for call in calls if _is_attention(call)])


def _is_attention(expression: relax.Expr) -> bool:
    return isinstance(expression, relax.Call) and getattr(expression.op, "name", "") in _ATTENTIONS


@relax.expr_functor.mutator
class _Spelled(relax.PyExprMutator):
    """Attention with a mask that is computed as the products that it is made of."""

    def visit_call_(self, call: relax.Call) -> relax.Expr:
        call = super().visit_call_(call)
        if not _is_attention(call) or len(call.args) < 4 or isinstance(call.args[3], GenericConst):
            return call
        query, key, value, mask = call.args
        scale = call.attrs.scale if call.attrs.scale is not None else 1 / math.sqrt(int(query.ty.shape[3]))
        operators = relax.op
        emit = self.builder_.emit
        left = emit(operators.permute_dims(query, [0, 2, 1, 3]))
        right = emit(operators.permute_dims(key, [0, 2, 3, 1]))
        scores = emit(operators.multiply(operators.matmul(left, right), relax.const(float(scale), "float32")))
        scores = emit(operators.add(scores, mask))
        if call.attrs.causal_mask is not None:
            scores = emit(operators.add(scores, relax.const(_later_keys(call))))
        weights = emit(operators.nn.softmax(scores, axis=-1))
        mixed = emit(operators.matmul(weights, emit(operators.permute_dims(value, [0, 2, 1, 3]))))
        return operators.permute_dims(mixed, [0, 2, 1, 3])


def _later_keys(call: relax.Call) -> NDArray[np.float32]:
    """(queries, keys): minus infinity where a causal attention does not look, else 0."""
    queries, keys = (int(operand.ty.shape[1]) for operand in call.args[:2])
    first = keys - queries if str(call.attrs.causal_mask) == "BottomRight" else 0
    return np.triu(np.full((queries, keys), -np.inf, dtype=np.float32), first + 1)


@relax.expr_functor.mutator
class _Tidied(relax.PyExprMutator):
    """Constants are cast now, and attentions get back the masks that they had, which TVM 0.27's pass forgets.

    TVM's own folding compiles a program for each constant: two thirds of the time of lowering a MobileNetV2.
    """

    def __init__(self, before: Iterator[relax.Call]) -> None:
        super().__init__()
        self._before = before

    def visit_call_(self, call: relax.Call) -> relax.Expr:
        call = super().visit_call_(call)
        if getattr(call.op, "name", "") == "relax.astype" and isinstance(call.args[0], GenericConst):
            dtype = str(call.ty.dtype)
            return relax.const(call.args[0].value.numpy().astype(dtype), dtype)
        return self._masked(call) if _is_attention(call) else call

    def _masked(self, call: relax.Call) -> relax.Expr:
        had = next(self._before)
        bias = had.args[3] if len(had.args) > 3 else None
        attributes = had.attrs
        return relax.op.nn.attention(
            *call.args[:3], bias, attributes.scale, attributes.causal_mask, attributes.window_size
        )
