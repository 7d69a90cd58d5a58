"""Products of quantised activations with constant int8 weights, and the copy that makes a convolution one."""

from __future__ import annotations

import math

from tvm import te, tirx

from evaluators.compile.choices import Choice, written
from evaluators.compile.kernels.image import Window, shape_of
from evaluators.compile.rules.stages import unravel

NAME = "integer_product"


def integer_product(
    data: te.Tensor, weight: te.Tensor, outer: int, channels: int, depth: int, choice: Choice
) -> te.Tensor:
    """(..., I) with panels (O', I / depth, T * depth) of groups of ``depth`` weights to int32 (..., ``channels``).

    The first ``outer`` axes are those of rows; I may be several axes that lie side by side. Panel p holds the
    channels from ``min(p * T, channels - T)`` on.
    """
    tile = shape_of(weight)[2] // depth
    extents = shape_of(data)
    rc = te.reduce_axis((0, math.prod(extents[outer:])), "rc")

    def product(*at: tirx.PrimExpr) -> tirx.PrimExpr:
        *row, c = at
        lane = c - tirx.min(c // tile * tile, tirx.const(channels - tile, c.ty.dtype))
        left = data[(*row, *unravel(rc.var, extents[outer:]))].astype("int32")
        return te.sum(left * weight[c // tile, rc // depth, lane * depth + rc % depth].astype("int32"), axis=rc)

    return te.compute((*extents[:outer], channels), product, name=NAME, attrs=written(choice))


def windows(data: te.Tensor, kernel: tuple[int, int], window: Window) -> te.Tensor:
    """Each output pixel's inputs side by side: (N, H, W, I), padded already, to (N, OH, OW, KH, KW, I)."""
    batch, height, width, inputs = shape_of(data)
    out_height, out_width = window.output((height, width), kernel)
    (sy, sx), (dy, dx) = window.strides, window.dilation
    return te.compute(
        (batch, out_height, out_width, *kernel, inputs),
        lambda n, y, x, down, across, c: data[n, y * sy + down * dy, x * sx + across * dx, c],
        name="windows",
    )
