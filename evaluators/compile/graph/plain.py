"""Operators written as the plainer ones that they are, which lay out and fuse better."""

from __future__ import annotations

import math
from collections.abc import Mapping

from tvm import relax

from evaluators.compile.graph.access import number_of, static_shape
from evaluators.compile.graph.batch_norm import folded_batch_norm
from evaluators.compile.graph.padding import no_padding, padded_convolution
from evaluators.compile.graph.peek import Peek
from evaluators.compile.graph.rewriting import PART, Rule, rewrite


def split_clip(call: relax.Call, peek: Peek) -> relax.Expr:
    """Clip as maximum and minimum with constants, which lay out and fuse like any element-wise operator."""
    result, *limits = call.args
    dtype = result.ty.dtype
    bottom, top = (number_of(limit) for limit in limits)
    if bottom > -math.inf:
        result = relax.op.maximum(result, relax.const(bottom, dtype))
    if top < math.inf:
        result = relax.op.minimum(result, relax.const(top, dtype))
    return result


def pooled_by_mean(call: relax.Call, peek: Peek) -> relax.Expr | None:
    """Average pooling to one pixel as the mean that it is."""
    attrs, to_one = call.attrs, False
    if attrs.layout == "NCHW" and call.op.name == "relax.nn.avg_pool2d":
        window = tuple(int(size) for size in attrs.pool_size)
        to_one = window == static_shape(call.args[0])[2:] and not any(int(width) for width in attrs.padding)
    elif attrs.layout == "NCHW":
        to_one = [int(size) for size in attrs.output_size] == [1, 1]
    return relax.op.mean(call.args[0], axis=[2, 3], keepdims=True) if to_one else None


def scaled_gate(call: relax.Call, peek: Peek) -> relax.Expr | None:
    """The division by six in hard sigmoid and hard swish as a multiplication: a tenth of the cycles."""
    divided, divisor = call.args
    number, product = peek.number(divisor), peek.call(divided, "multiply")
    factors = product.args if product is not None else [divided]
    clipped = any(peek.call(factor, "minimum", "clip") is not None for factor in factors)
    if number is None or number == 0.0 or not clipped or str(call.ty.dtype) != "float32":
        return None
    return relax.op.multiply(divided, relax.const(1 / number, "float32"))


def half_of_exponentials(call: relax.Call, peek: Peek) -> relax.Expr:
    """cosh and sinh, which LLVM has no intrinsic for."""
    (data,) = call.args
    join = relax.op.add if call.op.name == "relax.cosh" else relax.op.subtract
    both = join(relax.op.exp(data), relax.op.exp(relax.op.negative(data)))
    return relax.op.multiply(both, relax.const(0.5, call.ty.dtype))


def transposed_along_line(call: relax.Call, peek: Peek) -> relax.Expr | None:
    """A one-dimensional transposed convolution as that of images of one row."""
    data, weight = call.args
    attrs = call.attrs
    if (attrs.data_layout, attrs.kernel_layout, attrs.out_layout) != ("NCW", "IOW", "NCW"):
        return None
    (batch, channels, length), (inputs, outputs, taps) = static_shape(data), static_shape(weight)
    before, after = (int(width) for width in attrs.padding)
    image = relax.op.nn.conv2d_transpose(
        relax.op.reshape(data, [batch, channels, 1, length]),
        relax.op.reshape(weight, [inputs, outputs, 1, taps]),
        strides=[1, int(attrs.strides[0])],
        padding=[0, before, 0, after],
        output_padding=[0, int(attrs.output_padding[0])],
        dilation=[1, int(attrs.dilation[0])],
        groups=int(attrs.groups),
        out_dtype=attrs.out_dtype,
    )
    return relax.op.reshape(image, static_shape(call))


RULES: Mapping[str, tuple[Rule, ...]] = {
    "relax.nn.pad": (no_padding,),
    "relax.nn.conv2d": (padded_convolution,),
    "relax.nn.conv1d_transpose": (transposed_along_line,),
    "relax.clip": (split_clip,),
    "relax.cosh": (half_of_exponentials,),
    "relax.sinh": (half_of_exponentials,),
    "relax.divide": (scaled_gate,),
    "relax.nn.adaptive_avg_pool2d": (pooled_by_mean,),
    "relax.nn.avg_pool2d": (pooled_by_mean,),
    PART: (folded_batch_norm,),
}


def simplify(function: relax.Function) -> relax.Function:
    """Fold paddings and batch norms into convolutions, and write clips and means as what they are."""
    return rewrite(function, RULES)
