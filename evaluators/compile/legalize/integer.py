"""``relax.matmul`` and ``relax.nn.conv2d`` of quantised activations with constant int8 weights."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from tvm import relax, te, tirx, topi
from tvm.ir import GenericConst

from evaluators.compile.choices import KernelKey
from evaluators.compile.integers import Dot, dot_for, dots_of, joined_groups
from evaluators.compile.kernels.depthwise_integer import IntegerDepthwise, integer_depthwise_stage, pack_weights
from evaluators.compile.kernels.image import Window
from evaluators.compile.kernels.integer import integer_product, windows
from evaluators.compile.legalize.context import Context, whole
from evaluators.compile.legalize.convolution import FUSIBLE
from evaluators.compile.legalize.dense import pack_panels
from evaluators.compile.products import Product, product_options

_ALONE = 8
"""TVM's pattern of an operator that is fused with none: what feeds the windows is not to be computed in each."""


def integer_dense(builder: relax.BlockBuilder, call: relax.Call, context: Context) -> relax.Expr | None:
    """A product with a constant matrix."""
    data, weight = call.args
    if str(call.ty.dtype) != "int32" or not isinstance(weight, GenericConst) or len(weight.ty.shape) != 2:
        return None
    dot = dot_for(context.profile, str(data.ty.dtype))
    if dot is None or int(weight.ty.shape[0]) % dot.depth:
        return None
    return _product(builder, data, weight.value.numpy(), context, len(data.ty.shape) - 1, dot)


def integer_convolution(builder: relax.BlockBuilder, call: relax.Call, context: Context) -> relax.Expr | None:
    """A convolution of one group in NHWC/HWIO: a product over all pixels, or over their windows."""
    attrs, (data, weight) = call.attrs, call.args
    channels_last = attrs.data_layout == attrs.out_layout == "NHWC" and attrs.kernel_layout == "HWIO"
    ours = channels_last and isinstance(weight, GenericConst) and int(attrs.groups) == 1
    if str(call.ty.dtype) != "int32":
        return None
    dot = dot_for(context.profile, str(data.ty.dtype))
    if not ours or dot is None or math.prod(whole(weight.ty.shape)[:3]) % dot.depth:
        return call.op.get_attr("FLegalize")(builder, call)  # no other of our kernels computes in integers
    values = weight.value.numpy()
    height, width, _, channels = values.shape
    top, left, bottom, right = whole(attrs.padding)
    if top or left or bottom or right:
        data = builder.emit(_padded(builder, data, (0, 0, top, bottom, left, right, 0, 0), 0))
    window = Window(whole(attrs.strides), (0, 0, 0, 0), whole(attrs.dilation))  # type: ignore[arg-type]
    pointwise = (height, width) == (1, 1) and window.strides == (1, 1)
    if not pointwise:

        def build(image: te.Tensor) -> te.Tensor:
            return windows(image, (height, width), window)

        copied = builder.call_te(build, data, primfunc_name_hint="windows", primfunc_attrs={"op_pattern": _ALONE})
        data = builder.emit(copied)
    return _product(builder, data, values.reshape(-1, channels), context, 3, dot)


def integer_depthwise(builder: relax.BlockBuilder, call: relax.Call, context: Context) -> relax.Expr | None:
    """A convolution of bytes with as many groups as channels, by the processor's products of pairs in 16 bits."""
    attrs, (data, weight) = call.attrs, call.args
    ours = attrs.data_layout == attrs.out_layout == "NHWC" and attrs.kernel_layout == "HWIO"
    if str(call.ty.dtype) != "int32" or str(data.ty.dtype) != "uint8" or not isinstance(weight, GenericConst):
        return None
    batch, height, width, channels = whole(data.ty.shape)
    values = weight.value.numpy()
    kernel = values.shape[:2]
    depthwise = values.shape[2:] == (1, channels) and int(attrs.groups) == channels and channels % 8 == 0
    if not (ours and depthwise and dots_of(context.profile)[0].pairs):
        return None
    top, left, bottom, right = whole(attrs.padding)
    if top or left or bottom or right:
        data = builder.emit(_padded(builder, data, (0, 0, top, bottom, left, right, 0, 0), 0))
    image = (height + top + bottom, width + left + right)
    strides, dilation = whole(attrs.strides), whole(attrs.dilation)
    layer = IntegerDepthwise(batch, image, channels, kernel, strides, dilation)  # type: ignore[arg-type]

    def build(source: te.Tensor, weights: te.Tensor) -> te.Tensor:
        return integer_depthwise_stage(source, weights, layer)

    packed = relax.const(pack_weights(values[:, :, 0], layer))
    return builder.call_te(build, data, packed, primfunc_name_hint="integer_depthwise", primfunc_attrs=FUSIBLE)


def integer_padding(builder: relax.BlockBuilder, call: relax.Call, context: Context) -> relax.Expr | None:
    """A constant around quantised activations, of their own type (TVM's own pads with a float)."""
    data, attrs = call.args[0], call.attrs
    if "int" not in str(data.ty.dtype) or attrs.pad_mode != "constant":
        return None
    return _padded(builder, data, whole(attrs.pad_width), int(attrs.pad_value))


def _padded(builder: relax.BlockBuilder, data: relax.Expr, widths: tuple[int, ...], value: int) -> relax.Expr:
    filling = tirx.const(value, str(data.ty.dtype))

    def build(image: te.Tensor) -> te.Tensor:
        return topi.nn.pad(image, widths[::2], widths[1::2], filling)

    return builder.call_te(build, data, primfunc_name_hint="padding")


def _product(
    builder: relax.BlockBuilder, data: relax.Expr, matrix: NDArray[np.int8], context: Context, outer: int, dot: Dot
) -> relax.Expr:
    rows = math.prod(whole(data.ty.shape)[:outer])
    inner, channels = matrix.shape
    groups = inner // dot.depth
    most = joined_groups(groups) if dot.pairs else 1
    joined = next(n for n in range(most, 0, -1) if groups % n == 0 and dot.is_exact(matrix.astype(np.int16), n))
    product = Product(rows, groups // joined, channels)
    facts = {"m": rows, "k": inner, "n": channels, "depth": dot.depth, "joined": joined}
    registers = context.profile.vector_registers - dot.scratch
    options = product_options(product, replace(context.profile, vector_registers=registers))
    joining = [{**option, "joined": joined} for option in options]
    choice = context.choose(KernelKey("integer", tuple(facts.items())), joining)
    packed = _grouped(matrix, choice["vectors"] * choice["lanes"], dot)

    def build(left: te.Tensor, weights: te.Tensor) -> te.Tensor:
        return integer_product(left, weights, outer, channels, dot.depth, choice)

    return builder.call_te(build, data, relax.const(packed), primfunc_name_hint="integer_product")


def _grouped(matrix: NDArray[np.int8], width: int, dot: Dot) -> NDArray[np.int8]:
    """A matrix (I, O) as panels (P, I / depth, width * depth): groups of ``depth`` values side by side."""
    panels = pack_panels(matrix, width)
    count, inner, _ = panels.shape
    groups = panels.reshape(count, inner // dot.depth, dot.depth, width)
    return np.ascontiguousarray(groups.transpose(0, 1, 3, 2)).reshape(count, inner // dot.depth, -1)
