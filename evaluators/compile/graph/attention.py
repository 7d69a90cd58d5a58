"""Attention found where it is written as products and a softmax, and its masks where they are known now."""

from __future__ import annotations

import numpy as np
from tvm import relax, tirx
from tvm.ir import GenericConst

from evaluators.compile.graph.access import Array, array_of

_HIDDEN = -1e30
"""Added to a score, it leaves nothing of the exponential."""


def find_attention(function: relax.Function) -> relax.Function:
    """Write softmax(Q K^T * scale + bias) V as ``relax.nn.attention``."""
    return _Finder().visit_expr(function)


def know_masks(function: relax.Function) -> relax.Function:
    """Drop an added mask of zeros; write the one that hides later keys as the causal mask."""
    return _Masks().visit_expr(function)


@relax.expr_functor.mutator
class _Masks(relax.PyExprMutator):
    def visit_call_(self, call: relax.Call) -> relax.Expr:
        call = self.visit_expr_post_order(call)
        if call.op.name != "relax.nn.attention_bias" or call.attrs.causal_mask is not None:
            return call
        bias = call.args[3]
        if isinstance(bias, relax.Var):
            bias = self.lookup_binding(bias)
        if not isinstance(bias, GenericConst):
            return call
        mask = array_of(bias)
        causal = _is_causal(mask)
        if not causal and mask.any():
            return call
        query, key, value = call.args[:3]
        return relax.op.nn.attention(query, key, value, None, call.attrs.scale, "TopLeft" if causal else None)


@relax.expr_functor.mutator
class _Finder(relax.PyExprMutator):
    def visit_call_(self, call: relax.Call) -> relax.Expr:
        call = self.visit_expr_post_order(call)
        if not _is_product(call):
            return call
        softmax = self._bound(call.args[0])
        if not _is(softmax, "relax.nn.softmax") or int(softmax.attrs.axis) not in (-1, 3):
            return call
        scores, bias = self._without_bias(softmax.args[0])
        product, scale = self._without_scale(scores)
        if not _is_product(product) or scale <= 0:
            return call
        query, value = product.args[0], call.args[1]
        key = self._emit(relax.op.permute_dims(product.args[1], [0, 1, 3, 2]))
        if not _agree(query, key, value, bias):
            return call
        heads_inside = [self._emit(relax.op.permute_dims(part, _SWAPPED)) for part in (query, key, value)]
        number = tirx.FloatImm("float32", scale)
        return relax.op.permute_dims(self._emit(relax.op.nn.attention(*heads_inside, bias, number)), _SWAPPED)

    def _emit(self, expression: relax.Expr) -> relax.Var:
        return self.builder_.emit(expression)

    def _bound(self, expression: relax.Expr) -> relax.Expr:
        """What a variable stands for."""
        while isinstance(expression, relax.Var):
            value = self.lookup_binding(expression)
            if value is None:
                return expression
            expression = value
        return expression

    def _without_bias(self, scores: relax.Expr) -> tuple[relax.Expr, relax.Expr | None]:
        added = self._bound(scores)
        if not _is(added, "relax.add"):
            return scores, None
        for part, bias in (added.args, reversed(added.args)):
            if _is_product(self._without_scale(part)[0]):
                return part, bias
        return scores, None

    def _without_scale(self, scores: relax.Expr) -> tuple[relax.Expr, float]:
        """The product behind a multiplication or a division by one number, and that number as a factor."""
        scaled = self._bound(scores)
        for name in ("relax.multiply", "relax.divide"):
            if _is(scaled, name):
                number = self._bound(scaled.args[1])
                if isinstance(number, GenericConst) and array_of(number).size == 1:
                    factor = float(array_of(number).reshape(()))
                    product = self._bound(scaled.args[0])
                    return product, factor if name == "relax.multiply" else 1 / factor
        return scaled, 1.0


_SWAPPED = [0, 2, 1, 3]
"""(batch, heads, tokens, channels) as (batch, tokens, heads, channels), and back."""


def _is(expression: relax.Expr, name: str) -> bool:
    return isinstance(expression, relax.Call) and getattr(expression.op, "name", "") == name


def _is_product(expression: relax.Expr) -> bool:
    """Of two tensors of four dimensions."""
    if not _is(expression, "relax.matmul") or str(expression.ty.dtype) != "float32":
        return False
    return all(len(argument.ty.shape) == 4 for argument in expression.args)


def _agree(query: relax.Expr, key: relax.Expr, value: relax.Expr, bias: relax.Expr | None) -> bool:
    """Whether nothing is repeated over batches or heads, and the bias is one for each key."""
    parts = [[int(extent) for extent in part.ty.shape] for part in (query, key, value)]
    if any(shape[:2] != parts[0][:2] for shape in parts):
        return False
    if bias is None:
        return True
    scores = [*parts[0][:3], parts[1][2]]
    shape = [int(extent) for extent in bias.ty.shape]
    fits = len(shape) == 4 and shape[-1] == scores[-1]
    return fits and all(given in (1, extent) for given, extent in zip(shape, scores, strict=True))


def _is_causal(mask: Array) -> bool:
    later = np.triu(np.ones(mask.shape[-2:], bool), 1)
    return bool(later.any() and (mask[..., later] < _HIDDEN).all() and not mask[..., ~later].any())
