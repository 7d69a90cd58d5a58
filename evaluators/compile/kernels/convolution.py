"""Dense convolutions with packed weights."""

from __future__ import annotations

from tvm import te

from evaluators.compile.choices import Choice, written
from evaluators.compile.kernels.image import Window, cut, pad_image, shape_of

NAME = "packed_convolution"


def convolution(data: te.Tensor, weight: te.Tensor, window: Window, channels: int, choice: Choice) -> te.Tensor:
    """Dense convolution: (N, H, W, I) with packed (O', KH, KW, I, T) to (N, OH, OW, ``channels``)."""
    tiles, kernel_height, kernel_width, inputs, tile = shape_of(weight)
    batch, height, width, _ = shape_of(data)
    out_height, out_width = window.output(height, width, (kernel_height, kernel_width))
    source = pad_image(data, window.padding, inputs)
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
        name=NAME,
        attrs=written(choice),
    )
    return cut(full, channels)
