"""The network's own image, channels first, read as it is by the convolution that takes it."""

from __future__ import annotations

from typing import Any

from tvm import relax
from tvm.relax.dpl import is_const, is_op, rewrite_call, wildcard

MOST_CHANNELS = 16
"""With more, the vectors along a row that the kernel copies are too far apart to gain over a transpose."""


def read_channels_first(function: relax.Function) -> relax.Function:
    """A dense convolution of a transposed image with few channels reads the image before the transpose."""
    image, weight = wildcard(), is_const()
    transposed = is_op("relax.permute_dims")(image)
    convolution = is_op("relax.nn.conv2d")(transposed, weight)

    def rewrite(found: relax.Expr, matches: Any) -> relax.Expr:
        call, attrs = matches[convolution], matches[convolution].attrs
        axes = [int(axis) for axis in matches[transposed].attrs.axes or ()]
        few = int(call.args[0].ty.shape[-1]) <= MOST_CHANNELS
        if axes != [0, 2, 3, 1] or attrs.data_layout != "NHWC" or int(attrs.groups) != 1 or not few:
            return found
        return relax.op.nn.conv2d(
            matches[image],
            call.args[1],
            attrs.strides,
            attrs.padding,
            attrs.dilation,
            data_layout="NCHW",
            kernel_layout="HWIO",
            out_layout="NHWC",
        )

    return rewrite_call(convolution, rewrite, function)
