"""Depthwise convolutions."""

from __future__ import annotations

from tvm import te

from evaluators.compile.choices import Choice, written
from evaluators.compile.kernels.image import Image, Window, cut, shape_of

NAME = "packed_depthwise"


def depthwise(image: Image, weight: te.Tensor, window: Window, channels: int, choice: Choice) -> te.Tensor:
    """Depthwise convolution: (N, H, W, C) with (KH, KW, C') to (N, OH, OW, ``channels``)."""
    kernel_height, kernel_width, full_channels = shape_of(weight)
    out_height, out_width = window.output(image.size, (kernel_height, kernel_width))
    source = image.padded(window.padding, full_channels)
    ry = te.reduce_axis((0, kernel_height), "ry")
    rx = te.reduce_axis((0, kernel_width), "rx")
    (sy, sx), (dy, dx) = window.strides, window.dilation
    full = te.compute(
        (image.extent("N"), out_height, out_width, full_channels),
        lambda n, y, x, c: te.sum(
            source.at(n, y * sy + ry * dy, x * sx + rx * dx, c) * weight[ry, rx, c], axis=[ry, rx]
        ),
        name=NAME,
        attrs=written(choice),
    )
    return cut(full, channels)
