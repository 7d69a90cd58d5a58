"""Operators of torch that TVM's importer does not know, or gets wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import fx
from tvm import relax, tirx

from evaluators.compile import torch_arithmetic, torch_images, torch_indices

Converter = Callable[[fx.Node, Any], relax.Var]


def _batch_norm(node: fx.Node, importer: Any) -> relax.Var:
    """``aten.batch_norm`` in evaluation; TVM's importer reads its momentum as epsilon and trains."""
    data, *rest, training, _, epsilon, _ = node.args
    if training or None in rest:
        raise ValueError("batch_norm without running statistics, scale or shift is not supported")
    operands = [importer.env[operand] for operand in rest]
    result = relax.op.nn.batch_norm(importer.env[data], *operands, axis=1, epsilon=epsilon, training=False)
    return importer.block_builder.emit(importer.block_builder.emit(result)[0])


def _convolution_by_name(node: fx.Node, importer: Any) -> relax.Var:
    """``aten.conv2d`` with its padding called "valid" or "same" (the odd pixel at the bottom and right)."""
    names = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
    given: dict[str, Any] = {**dict(zip(names, node.args, strict=False)), **node.kwargs}
    data, weight = importer.env[given["input"]], importer.env[given["weight"]]
    dilation = _pair(given.get("dilation", 1))
    reach = [(int(size) - 1) * step for size, step in zip(list(weight.ty.shape)[2:], dilation, strict=True)]
    if given.get("padding", "valid") == "valid":
        reach = [0, 0]
    before = [total // 2 for total in reach]
    after = [total - half for total, half in zip(reach, before, strict=True)]
    result = relax.op.nn.conv2d(
        data,
        weight,
        strides=_pair(given.get("stride", 1)),
        padding=[*before, *after],
        dilation=dilation,
        groups=given.get("groups", 1),
    )
    bias = given.get("bias")
    if bias is not None:
        result = relax.op.add(
            importer.block_builder.emit(result), relax.op.reshape(importer.env[bias], [1, -1, 1, 1])
        )
    return importer.block_builder.emit(result)


def _reduced(reduce: Callable[..., relax.Expr]) -> Converter:
    """Reductions that take axes and whether to keep them."""

    def convert(node: fx.Node, importer: Any) -> relax.Var:
        given: dict[str, Any] = {**dict(zip(("self", "dim", "keepdim"), node.args, strict=False)), **node.kwargs}
        axes, keepdims = given.get("dim") or None, given.get("keepdim", False)
        return importer.block_builder.emit(reduce(importer.env[given["self"]], axes, keepdims))

    return convert


def _scanned(scan: Callable[..., relax.Expr]) -> Converter:
    """Running sums and products; of booleans in 64 bits, where TVM keeps the narrow type."""

    def convert(node: fx.Node, importer: Any) -> relax.Var:
        given: dict[str, Any] = {**dict(zip(("self", "dim"), node.args, strict=False)), **node.kwargs}
        dtype = str(node.meta["val"].dtype).removeprefix("torch.")
        data = importer.env[given["self"]]
        if str(data.ty.dtype) != dtype:
            data = importer.block_builder.emit(relax.op.astype(data, dtype))
        return importer.block_builder.emit(scan(data, int(given["dim"])))

    return convert


def _upsample_nearest(node: fx.Node, importer: Any) -> relax.Var:
    """``aten.upsample_nearest2d``; TVM's importer rounds where torch takes the pixel at or below."""
    height, width = (int(extent) for extent in node.meta["val"].shape[2:])
    result = relax.op.image.resize2d(
        importer.env[node.args[0]],
        (height, width),
        layout="NCHW",
        method="nearest_neighbor",
        coordinate_transformation_mode="asymmetric",
        rounding_method="floor",
    )
    return importer.block_builder.emit(result)


def _pair(value: int | Sequence[int]) -> list[int]:
    values = [value] if isinstance(value, int) else list(value)
    return values * 2 if len(values) == 1 else values


def _attention(node: fx.Node, importer: Any) -> relax.Var:
    """``aten.scaled_dot_product_attention`` of (batch, heads, tokens, channels); a mask of booleans is added."""
    given = {**dict(zip(("query", "key", "value", "mask", "p", "causal"), node.args, strict=False)), **node.kwargs}
    emit = importer.block_builder.emit
    query, key, value = (
        emit(relax.op.permute_dims(importer.env[given[name]], [0, 2, 1, 3])) for name in ("query", "key", "value")
    )
    mask = given.get("mask", given.get("attn_mask"))
    bias = None
    if mask is not None:
        bias = importer.env[mask]
        if str(bias.ty.dtype) == "bool":
            zero, hidden = (relax.const(number, "float32") for number in (0.0, -math.inf))
            bias = emit(relax.op.where(bias, zero, hidden))
        missing = 4 - len(bias.ty.shape)
        bias = emit(relax.op.reshape(bias, [1] * missing + list(bias.ty.shape))) if missing else bias
    causal = "TopLeft" if given.get("causal", given.get("is_causal", False)) else None
    scale = given.get("scale")
    result = relax.op.nn.attention(
        query, key, value, bias, tirx.FloatImm("float32", scale) if scale is not None else None, causal
    )
    return emit(relax.op.permute_dims(emit(result), [0, 2, 1, 3]))


CONVERTERS: Mapping[str, Converter] = {
    **torch_indices.CONVERTERS,
    **torch_images.CONVERTERS,
    **torch_arithmetic.CONVERTERS,
    "scaled_dot_product_attention.default": _attention,
    "batch_norm.default": _batch_norm,
    "conv2d.padding": _convolution_by_name,
    "upsample_nearest2d.vec": _upsample_nearest,
    "upsample_nearest2d.default": _upsample_nearest,
    "amax.default": _reduced(relax.op.max),
    "prod.dim_int": _reduced(relax.op.prod),
    "amin.default": _reduced(relax.op.min),
    "cumsum.default": _scanned(relax.op.cumsum),
    "cumprod.default": _scanned(relax.op.cumprod),
}
