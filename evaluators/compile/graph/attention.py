"""Masks of attention that are known now."""

from __future__ import annotations

import numpy as np
from tvm import relax
from tvm.ir import GenericConst

from evaluators.compile.graph.access import Array, array_of

_HIDDEN = -1e30
"""Added to a score, it leaves nothing of the exponential."""


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


def _is_causal(mask: Array) -> bool:
    later = np.triu(np.ones(mask.shape[-2:], bool), 1)
    return bool(later.any() and (mask[..., later] < _HIDDEN).all() and not mask[..., ~later].any())
