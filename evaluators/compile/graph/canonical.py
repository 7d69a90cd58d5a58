"""One spelling for what exporters write in many, so that its kernels are found whatever file it came from."""

from __future__ import annotations

from collections.abc import Mapping

from tvm import relax

from evaluators.compile.graph.canonical_attention import attention, guarded_softmax, unfolded_product
from evaluators.compile.graph.canonical_gelu import gelu
from evaluators.compile.graph.canonical_norm import affine, layer_norm
from evaluators.compile.graph.peek import Peek
from evaluators.compile.graph.rewriting import Rule, rewrite


def safe_take(call: relax.Call, peek: Peek) -> relax.Expr | None:
    """Rows picked by indices: one that is out of range must not read foreign memory, -1 is the last."""
    if call.attrs.mode != "fast":
        return None
    data, indices, axis = call.args[0], call.args[1], call.attrs.axis
    known = peek.array(indices)
    if known is None or axis is None:
        return relax.op.take(data, indices, axis, mode="wrap")
    if (known >= 0).all():
        return None
    inside = relax.const(known % int(data.ty.shape[int(axis)]), str(indices.ty.dtype))
    return relax.op.take(data, inside, axis, mode="fast")


RULES: Mapping[str, tuple[Rule, ...]] = {
    "relax.multiply": (gelu, layer_norm, affine),
    "relax.divide": (layer_norm,),
    "relax.add": (affine,),
    "relax.where": (guarded_softmax,),
    "relax.matmul": (attention,),
    "relax.reshape": (unfolded_product,),
    "relax.take": (safe_take,),
}


def canonicalise(function: relax.Function) -> relax.Function:
    """Spell decomposed GELU, layer norm, softmax and attention as the operators that they are."""
    return rewrite(function, RULES)
