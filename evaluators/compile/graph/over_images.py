"""Operators on images (N, C, H, W), which work on (N, H, W, C); and on sequences (N, C, W)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import relax

from evaluators.compile.graph.access import with_attributes
from evaluators.compile.graph.value import Emitter, Handler, Value

CHANNELS_LAST = (0, 2, 3, 1)
CHANNELS_FIRST = (0, 3, 1, 2)
_HWIO = (2, 3, 1, 0)
MOST_CHANNELS = 16
"""With more, the vectors along a row that a kernel copies from an image are too far apart to gain over a
transpose."""


def _convolution(call: relax.Call, operands: Sequence[Any], emitter: Emitter) -> Value | None:
    data, weight = operands
    attrs = call.attrs
    if (attrs.data_layout, attrs.kernel_layout, attrs.out_layout) != ("NCHW", "OIHW", "NCHW"):
        return None
    layout = "NCHW" if _is_read_as_it_is(call, data, weight) else "NHWC"
    image = emitter.store(data) if layout == "NCHW" else _permuted(data, CHANNELS_LAST, emitter)
    arguments = [image, _permuted(weight, _HWIO, emitter)]
    result = with_attributes(call, arguments, data_layout=layout, kernel_layout="HWIO", out_layout="NHWC")
    return _channels_first(emitter.emit(result))


def _is_read_as_it_is(call: relax.Call, data: Value, weight: Value) -> bool:
    """The network's own image, channels first, is read by the convolution that takes it."""
    few = data.shape[1] <= MOST_CHANNELS and int(call.attrs.groups) == 1
    moved = data.view.is_plain and not data.view.permute(CHANNELS_LAST).is_plain
    return few and moved and weight.is_constant and str(call.ty.dtype) == "float32"


def _transposed_convolution(call: relax.Call, operands: Sequence[Any], emitter: Emitter) -> Value | None:
    data, weight = operands
    attrs = call.attrs
    layouts = (attrs.data_layout, attrs.kernel_layout, attrs.out_layout)
    if layouts != ("NCHW", "IOHW", "NCHW") or not weight.is_constant:
        return None
    arguments = [_permuted(data, CHANNELS_LAST, emitter), _permuted(weight, (2, 3, 0, 1), emitter)]
    result = with_attributes(call, arguments, data_layout="NHWC", kernel_layout="HWIO", out_layout="NHWC")
    return _channels_first(emitter.emit(result))


def _convolution_of_sequence(call: relax.Call, operands: Sequence[Any], emitter: Emitter) -> Value | None:
    data, weight = operands
    attrs = call.attrs
    if (attrs.data_layout, attrs.kernel_layout, attrs.out_layout) != ("NCW", "OIW", "NCW"):
        return None
    arguments = [_permuted(data, (0, 2, 1), emitter), _permuted(weight, (2, 1, 0), emitter)]
    result = with_attributes(call, arguments, data_layout="NWC", kernel_layout="WIO", out_layout="NWC")
    value = emitter.emit(result)
    return Value(value.stored, value.view.permute([0, 2, 1]))


def _pooling(call: relax.Call, operands: Sequence[Any], emitter: Emitter) -> Value | None:
    (data,) = operands
    if call.attrs.layout != "NCHW" or call.attrs.out_layout != "NCHW":
        return None
    image = _permuted(data, CHANNELS_LAST, emitter)
    return _channels_first(emitter.emit(with_attributes(call, [image], layout="NHWC", out_layout="NHWC")))


def _resize(call: relax.Call, operands: Sequence[Any], emitter: Emitter) -> Value | None:
    data, *size = operands
    if call.attrs.layout != "NCHW":
        return None
    image = _permuted(data, CHANNELS_LAST, emitter)
    return _channels_first(emitter.emit(with_attributes(call, [image, *size], layout="NHWC")))


def _permuted(value: Value, axes: Sequence[int], emitter: Emitter) -> relax.Expr:
    return emitter.store(Value(value.stored, value.view.permute(axes)))


def _channels_first(value: Value) -> Value:
    return Value(value.stored, value.view.permute(CHANNELS_FIRST))


HANDLERS: dict[str, Handler] = {
    "relax.nn.conv2d": _convolution,
    "relax.nn.conv2d_transpose": _transposed_convolution,
    "relax.nn.conv1d": _convolution_of_sequence,
    **{f"relax.nn.{name}": _pooling for name in ("max_pool2d", "avg_pool2d", "adaptive_avg_pool2d")},
    "relax.image.resize2d": _resize,
}
