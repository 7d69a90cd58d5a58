"""Products with a constant matrix: dense layers, and pointwise convolutions (products over all pixels)."""

from __future__ import annotations

from tvm import te, tirx

from evaluators.compile.choices import Choice, written
from evaluators.compile.kernels.image import shape_of

NAME = "packed_dense"


def dense(
    data: te.Tensor, weight: te.Tensor, channels: int, choice: Choice, strides: tuple[int, ...] = ()
) -> te.Tensor:
    """Dense layer: (..., I) with panels (O', I, T) to (..., ``channels``).

    Panel p holds the channels from ``min(p * T, channels - T)`` on. ``strides`` step through the axes before the
    last one (a pointwise convolution's).
    """
    _, inputs, tile = shape_of(weight)
    *extents, _ = shape_of(data)
    steps = strides or (1,) * len(extents)
    outer = [(extent - 1) // step + 1 for extent, step in zip(extents, steps, strict=True)]
    rc = te.reduce_axis((0, inputs), "rc")

    def product(*at: tirx.PrimExpr) -> tirx.PrimExpr:
        *row, c = at
        source = [index * step if step > 1 else index for index, step in zip(row, steps, strict=True)]
        lane = c - tirx.min(c // tile * tile, tirx.const(channels - tile, c.ty.dtype))
        return te.sum(data[(*source, rc)] * weight[c // tile, rc, lane], axis=rc)

    return te.compute((*outer, channels), product, name=NAME, attrs=written(choice))
