"""What kernels over images share: the window of a convolution, padding, the cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tvm import te, tirx

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


def pad_image(data: te.Tensor, padding: tuple[int, int, int, int], channels: int) -> te.Tensor:
    batch, height, width, given = shape_of(data)
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


def cut(full: te.Tensor, channels: int) -> te.Tensor:
    return te.compute((*shape_of(full)[:-1], channels), lambda *at: full[at], name="cut")


def shape_of(tensor: te.Tensor) -> tuple[int, ...]:
    shape: Sequence[tirx.PrimExpr] = tensor.shape
    return tuple(int(extent) for extent in shape)
