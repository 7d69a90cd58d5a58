"""Every operator as a kernel, element-wise work fused into its producer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import tvm
from tvm import relax

from evaluators.compile.choices import Chooser, ReplacedError
from evaluators.compile.legalize.attention import attention
from evaluators.compile.legalize.context import ALONE, Context, Legalizer, Packing
from evaluators.compile.legalize.convolution import dense_convolution, depthwise_convolution
from evaluators.compile.legalize.dense import dense_layer, pointwise_convolution
from evaluators.compile.legalize.gate import gated
from evaluators.compile.legalize.integer import (
    integer_convolution,
    integer_dense,
    integer_depthwise,
    integer_padding,
)
from evaluators.compile.legalize.matmul import activation_product
from evaluators.compile.legalize.order import extremes, order, ordered
from evaluators.compile.legalize.pooling import pooled
from evaluators.compile.legalize.replaced import as_tvm_computes
from evaluators.compile.legalize.resize import resized
from evaluators.compile.legalize.scan import scan
from evaluators.compile.legalize.take import taken, token_rows
from evaluators.compile.legalize.transpose import transpose
from evaluators.compile.legalize.transposed import transposed_convolution
from evaluators.compile.legalize.winograd import winograd_convolution
from hw_profiles.profile import Profile

LEGALIZERS: Mapping[str, tuple[Legalizer, ...]] = {
    "relax.nn.conv2d": (
        integer_depthwise,
        integer_convolution,
        pointwise_convolution,
        winograd_convolution,
        depthwise_convolution,
        dense_convolution,
    ),
    "relax.nn.conv2d_transpose": (transposed_convolution,),
    "relax.nn.conv1d": (depthwise_convolution, dense_convolution),
    "relax.cumsum": (scan,),
    "relax.cumprod": (scan,),
    "relax.argsort": (order,),
    "relax.sort": (ordered,),
    "relax.topk": (extremes,),
    "relax.take": (taken, token_rows),
    "relax.permute_dims": (transpose,),
    "relax.image.resize2d": (resized,),
    "relax.nn.max_pool2d": (pooled,),
    "relax.nn.avg_pool2d": (pooled,),
    "relax.multiply": (gated,),
    "relax.nn.pad": (integer_padding,),
    "relax.matmul": (integer_dense, dense_layer, activation_product),
    "relax.nn.attention": (attention,),
    "relax.nn.attention_bias": (attention,),
}


def legalized(module: tvm.IRModule, replacements: Mapping[str, Any] = MappingProxyType({})) -> tvm.IRModule:
    """The graph as calls of kernels: replacements by operator, or TVM's own; element-wise work fused behind."""
    passes = [
        relax.transform.LegalizeOps(dict(replacements)),
        relax.transform.AnnotateTIROpPattern(),
        relax.transform.FoldConstant(),
        relax.transform.FuseOps(),
        relax.transform.FuseTIR(),
        relax.transform.RewriteDataflowReshape(),
        relax.transform.DeadCodeElimination(),
    ]
    return tvm.transform.Sequential(passes)(module)


def make_kernels(
    module: tvm.IRModule, profile: Profile, choose: Chooser, packing: Packing = ALONE
) -> tvm.IRModule:
    """The graph as calls of unscheduled kernels with static shapes; see ``Context``."""
    context = Context(profile, choose, packing)
    return legalized(module, {name: first_of(found, context) for name, found in LEGALIZERS.items()})


def first_of(
    legalizers: tuple[Legalizer, ...], context: Context
) -> Callable[[relax.BlockBuilder, relax.Call], relax.Expr]:
    """What replaces a call: the answer of the first legalizer that has one, TVM's own otherwise."""

    def legalize(builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr:
        try:
            for legalizer in legalizers:
                answer = legalizer(builder, call, context)
                if answer is not None:
                    return answer
        except ReplacedError as replaced:
            return as_tvm_computes(builder, call, replaced.mark)
        return call.op.get_attr("FLegalize")(builder, call)

    return legalize
