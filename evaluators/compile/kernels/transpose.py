"""Axes of a tensor permuted, its last one among them."""

from __future__ import annotations

from collections.abc import Sequence

from tvm import te, tirx

from evaluators.compile.kernels.image import shape_of

NAME = "transposed"


def transposed(data: te.Tensor, axes: Sequence[int]) -> te.Tensor:
    """``data`` with axis ``axes[i]`` as its i-th."""
    shape = shape_of(data)
    back = sorted(range(len(axes)), key=lambda place: axes[place])

    def moved(*at: tirx.Var) -> tirx.PrimExpr:
        return data[tuple(at[place] for place in back)]

    return te.compute(tuple(shape[axis] for axis in axes), moved, name=NAME)
