"""Dense layers with packed weights."""

from __future__ import annotations

from tvm import te

from evaluators.compile.choices import Choice, written
from evaluators.compile.kernels.image import cut, shape_of

NAME = "packed_dense"


def dense(data: te.Tensor, weight: te.Tensor, channels: int, choice: Choice) -> te.Tensor:
    """Dense layer: (..., I) with packed (O', I, T) to (..., ``channels``)."""
    tiles, inputs, tile = shape_of(weight)
    *outer, _ = shape_of(data)
    rc = te.reduce_axis((0, inputs), "rc")
    full = te.compute(
        (*outer, tiles * tile),
        lambda *at: te.sum(data[(*at[:-1], rc)] * weight[at[-1] // tile, rc, at[-1] % tile], axis=rc),
        name=NAME,
        attrs=written(choice),
    )
    return cut(full, channels)
