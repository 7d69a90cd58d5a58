"""``relax.matmul`` with a constant matrix, and pointwise convolutions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import relax, te
from tvm.ir import GenericConst

from evaluators.compile.choices import KernelKey
from evaluators.compile.kernels import dense
from evaluators.compile.legalize.context import Array, Context, whole
from evaluators.compile.products import Product, product_options


def dense_layer(builder: relax.BlockBuilder, call: relax.Call, context: Context) -> relax.Expr | None:
    """A product with a constant matrix, whatever stands before the last axis."""
    data, weight = call.args
    if not isinstance(weight, GenericConst) or len(weight.ty.shape) != 2 or len(data.ty.shape) < 2:
        return None
    return _product(builder, call, weight.value.numpy(), context, ())


def pointwise_convolution(builder: relax.BlockBuilder, call: relax.Call, context: Context) -> relax.Expr | None:
    """A convolution of one pixel in NHWC/HWIO with constant weights: a product over all pixels."""
    attrs, weight = call.attrs, call.args[1]
    channels_last = attrs.data_layout == attrs.out_layout == "NHWC" and attrs.kernel_layout == "HWIO"
    if not channels_last or not isinstance(weight, GenericConst) or int(attrs.groups) != 1:
        return None
    values: Array = weight.value.numpy()
    if values.shape[:2] != (1, 1) or any(whole(attrs.padding)):
        return None
    return _product(builder, call, values[0, 0], context, (1, *whole(attrs.strides)))


def pack_panels(weight: NDArray[Any], width: int) -> NDArray[Any]:
    """A matrix (I, O) as panels (ceil(O / width), I, width), the last one overlapping the one before."""
    channels = weight.shape[1]
    starts = [min(start, channels - width) for start in range(0, channels, width)]
    return np.stack([weight[:, start : start + width] for start in starts])


def packed_dense(weight: NDArray[Any], width: int) -> NDArray[Any]:
    """A matrix (I, O) in the panels of ``kernels.dense``: two whole numbers a byte where they fit."""
    panels = pack_panels(weight, width)
    return in_halves(panels) if fits_half(weight) else panels


def fits_half(weight: NDArray[Any]) -> bool:
    """Whether a matrix (I, O) is of bytes of which two fit one, along an even I."""
    if weight.dtype != np.int8 or len(weight) % 2:
        return False
    return bool((weight >= -dense.NIBBLE).all() and (weight < dense.NIBBLE).all())


def in_halves(panels: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Panels (P, I, width) of four bits as bytes (P, I / 2, width): see ``kernels.dense.widened``."""
    raised = (panels + dense.NIBBLE).astype(np.uint8)
    return raised[:, ::2] | (raised[:, 1::2] << np.uint8(4))


def _product(
    builder: relax.BlockBuilder, call: relax.Call, weight: Array, context: Context, strides: tuple[int, ...]
) -> relax.Expr | None:
    data = call.args[0]
    if str(weight.dtype) not in ("float32", "int8") or {str(data.ty.dtype), str(call.ty.dtype)} != {"float32"}:
        return None
    *outer, channels = whole(call.ty.shape)
    product = Product(math.prod(outer), weight.shape[0], channels, narrow=weight.dtype == np.int8)
    facts = {"m": product.rows, "k": product.inner, "n": product.columns}
    panel = context.packing.panels.get((product.inner, product.columns))
    options = product_options(product, context.profile, panel=panel)
    if panel is not None:
        facts["panel"] = panel
    halves = fits_half(weight)
    if weight.dtype == np.int8:
        facts["bits"] = 4 if halves else 8
    if halves:  # which half of a byte a step reads must be known when its code is written
        options = [{**option, "unroll": option["unroll"] * (1 + option["unroll"] % 2)} for option in options]
    choice = context.choose(KernelKey("dense", tuple(facts.items())), options)
    packed = packed_dense(weight, panel or choice["vectors"] * choice["lanes"])

    def build(rows: te.Tensor, weights: te.Tensor) -> te.Tensor:
        return dense.dense(rows, weights, channels, choice, strides)

    return builder.call_te(build, data, relax.const(packed), primfunc_name_hint="dense")
