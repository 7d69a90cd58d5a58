"""``relax.matmul`` of activations with a constant matrix."""

from __future__ import annotations

import math

from tvm import relax, te
from tvm.ir import GenericConst

from evaluators.compile.choices import KernelKey
from evaluators.compile.kernels import dense
from evaluators.compile.legalize.context import Context, pack, whole
from evaluators.compile.tiles import tile_options


def dense_layer(builder: relax.BlockBuilder, call: relax.Call, context: Context) -> relax.Expr | None:
    """A product with a constant matrix, whatever stands before the last axis."""
    data, weight = call.args
    if not isinstance(weight, GenericConst) or len(weight.ty.shape) != 2 or len(data.ty.shape) < 2:
        return None
    *outer, channels = whole(call.ty.shape)
    profile = context.profile
    tiles = tile_options(1, math.prod(outer), channels, profile.vector_bits, profile.vector_registers)
    facts = (("m", math.prod(outer)), ("k", int(weight.ty.shape[0])), ("n", channels))
    choice = context.choose(KernelKey("dense", facts), [tile.choice for tile in tiles])
    packed = pack(weight.value.numpy(), choice["vectors"] * choice["lanes"])

    def build(rows: te.Tensor, weights: te.Tensor) -> te.Tensor:
        return dense.dense(rows, weights, channels, choice)

    return builder.call_te(build, data, relax.const(packed), primfunc_name_hint="dense")
