"""The computations of convolution and dense layers, written for the schedule rules.

Activations are NHWC. Weights are constants, packed once at compile time so that the inner loop reads them in
order: ``(tile of output channels, kernel height, kernel width, input channel, output channel in the tile)``.
Output channels that do not divide by the tile are padded inside the kernel and cut off before they are stored,
so any channel count runs at vector speed. Each kernel ends in a stage named ``cut`` into which fused
element-wise work is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tvm import te, tirx

CONVOLUTION = "packed_convolution"
DEPTHWISE = "packed_depthwise"
DENSE = "packed_dense"
PADDING = "padded_input"


@dataclass(frozen=True)
class Window:
    """Strides and dilation (y, x) and padding (top, left, bottom, right) of a convolution."""

    strides: tuple[int, int]
    padding: tuple[int, int, int, int]
    dilation: tuple[int, int]

    def output(self, height: int, width: int, kernel: tuple[int, int]) -> tuple[int, int]:
        """Output height and width."""
        top, left, bottom, right = self.padding
        reach = [(k - 1) * d + 1 for k, d in zip(kernel, self.dilation, strict=True)]
        return (
            (height + top + bottom - reach[0]) // self.strides[0] + 1,
            (width + left + right - reach[1]) // self.strides[1] + 1,
        )


def convolution(data: te.Tensor, weight: te.Tensor, window: Window, channels: int) -> te.Tensor:
    """Dense convolution: (N, H, W, I) with packed (O', KH, KW, I, T) to (N, OH, OW, ``channels``)."""
    tiles, kernel_height, kernel_width, inputs, tile = _shape(weight)
    batch, height, width, _ = _shape(data)
    out_height, out_width = window.output(height, width, (kernel_height, kernel_width))
    source = _pad(data, window.padding, inputs)
    ry = te.reduce_axis((0, kernel_height), "ry")
    rx = te.reduce_axis((0, kernel_width), "rx")
    rc = te.reduce_axis((0, inputs), "rc")
    (sy, sx), (dy, dx) = window.strides, window.dilation
    full = te.compute(
        (batch, out_height, out_width, tiles * tile),
        lambda n, y, x, c: te.sum(
            source[n, y * sy + ry * dy, x * sx + rx * dx, rc] * weight[c // tile, ry, rx, rc, c % tile],
            axis=[ry, rx, rc],
        ),
        name=CONVOLUTION,
    )
    return _cut(full, channels)


def depthwise(data: te.Tensor, weight: te.Tensor, window: Window, channels: int) -> te.Tensor:
    """Depthwise convolution: (N, H, W, C) with (KH, KW, C') to (N, OH, OW, ``channels``)."""
    kernel_height, kernel_width, full_channels = _shape(weight)
    batch, height, width, _ = _shape(data)
    out_height, out_width = window.output(height, width, (kernel_height, kernel_width))
    source = _pad(data, window.padding, full_channels)
    ry = te.reduce_axis((0, kernel_height), "ry")
    rx = te.reduce_axis((0, kernel_width), "rx")
    (sy, sx), (dy, dx) = window.strides, window.dilation
    full = te.compute(
        (batch, out_height, out_width, full_channels),
        lambda n, y, x, c: te.sum(
            source[n, y * sy + ry * dy, x * sx + rx * dx, c] * weight[ry, rx, c], axis=[ry, rx]
        ),
        name=DEPTHWISE,
    )
    return _cut(full, channels)


def dense(data: te.Tensor, weight: te.Tensor, channels: int) -> te.Tensor:
    """Dense layer: (..., I) with packed (O', I, T) to (..., ``channels``)."""
    tiles, inputs, tile = _shape(weight)
    *outer, _ = _shape(data)
    rc = te.reduce_axis((0, inputs), "rc")
    full = te.compute(
        (*outer, tiles * tile),
        lambda *at: te.sum(data[(*at[:-1], rc)] * weight[at[-1] // tile, rc, at[-1] % tile], axis=rc),
        name=DENSE,
    )
    return _cut(full, channels)


def _pad(data: te.Tensor, padding: tuple[int, int, int, int], channels: int) -> te.Tensor:
    batch, height, width, given = _shape(data)
    top, left, bottom, right = padding
    if not any(padding) and channels == given:
        return data

    def inside(n: tirx.PrimExpr, y: tirx.PrimExpr, x: tirx.PrimExpr, c: tirx.PrimExpr) -> tirx.PrimExpr:
        bounds = []
        if top or bottom:
            bounds += [y >= top, y < height + top]
        if left or right:
            bounds += [x >= left, x < width + left]
        if channels > given:
            bounds.append(c < given)
        return tirx.if_then_else(tirx.all(*bounds), data[n, y - top, x - left, c], tirx.const(0, data.dtype))

    return te.compute((batch, height + top + bottom, width + left + right, channels), inside, name=PADDING)


def _cut(full: te.Tensor, channels: int) -> te.Tensor:
    return te.compute((*_shape(full)[:-1], channels), lambda *at: full[at], name="cut")


def _shape(tensor: te.Tensor) -> tuple[int, ...]:
    shape: Sequence[tirx.PrimExpr] = tensor.shape
    return tuple(int(extent) for extent in shape)
