"""Products with a constant matrix: dense layers, and pointwise convolutions (products over all pixels)."""

from __future__ import annotations

from collections.abc import Callable

from tvm import te, tirx
from tvm.sym import Analyzer

from evaluators.compile.choices import Choice, written
from evaluators.compile.kernels.image import shape_of

NAME = "packed_dense"
NIBBLE = 8
"""What is added to a weight of four bits, so that it is 0 or more."""


def dense(
    data: te.Tensor, weight: te.Tensor, channels: int, choice: Choice, strides: tuple[int, ...] = ()
) -> te.Tensor:
    """Dense layer: (..., I) with panels (O', I, T) to (..., ``channels``).

    Panel p holds the channels from ``min(p * T, channels - T)`` on. ``strides`` step through the axes before the
    last one (a pointwise convolution's). Panels may be held in fewer bits (see ``widened``); of four, they are
    (O', I / 2, T).
    """
    _, held, tile = shape_of(weight)
    inputs = 2 * held if weight.dtype == "uint8" else held
    *extents, _ = shape_of(data)
    steps = strides or (1,) * len(extents)
    outer = [(extent - 1) // step + 1 for extent, step in zip(extents, steps, strict=True)]
    rc = te.reduce_axis((0, inputs), "rc")

    def product(*at: tirx.PrimExpr) -> tirx.PrimExpr:
        *row, c = at
        source = [index * step if step > 1 else index for index, step in zip(row, steps, strict=True)]
        lane = c - tirx.min(c // tile * tile, tirx.const(channels - tile, c.ty.dtype))
        right = widened(lambda k: weight[c // tile, k, lane], str(weight.dtype), rc.var)
        return te.sum(data[(*source, rc)] * right, axis=rc)

    return te.compute((*outer, channels), product, name=NAME, attrs=written(choice))


def columns(panels: te.Tensor, picks: te.Tensor, size: tuple[int, int]) -> te.Tensor:
    """Columns of a matrix of a size (I, O), held as panels: ``picks`` (...), of -O to O - 1, to (..., I)."""
    inner, channels = size
    tile = shape_of(panels)[-1]

    def element(*at: tirx.PrimExpr) -> tirx.PrimExpr:
        *place, k = at
        column = tirx.floormod(picks[tuple(place)], channels)
        lane = column - tirx.min(column // tile * tile, tirx.const(channels - tile, column.ty.dtype))
        value = _held(lambda row: panels[column // tile, row, lane], str(panels.dtype), k)
        return value.astype("int8") if panels.dtype == "uint8" else value

    return te.compute((*picks.shape, inner), element, name="take")


def widened(load: Callable[[tirx.PrimExpr], tirx.PrimExpr], dtype: str, k: tirx.PrimExpr) -> tirx.PrimExpr:
    """The weight at ``k`` as float32, of panels in float32, int8, or two a byte: the even one in its low half."""
    value = _held(load, dtype, k)
    return value if dtype == "float32" else value.astype("float32")


def _held(load: Callable[[tirx.PrimExpr], tirx.PrimExpr], dtype: str, k: tirx.PrimExpr) -> tirx.PrimExpr:
    """The weight at ``k`` as it was packed, of two a byte as int32."""
    if dtype != "uint8":
        return load(k)
    shift = Analyzer().simplify(k % 2 * 4).astype(dtype)
    half = (load(k // 2) >> shift) & tirx.const(15, dtype)  # in bytes: a wider shift is slower
    return half.astype("int32") - NIBBLE
