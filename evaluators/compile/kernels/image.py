"""What kernels over images share: how an image lies in memory, the window of a convolution, padding, the cut."""

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

    def output(self, image: Sequence[int], kernel: Sequence[int]) -> tuple[int, int]:
        """Output height and width for those of the image."""
        top, left, bottom, right = self.padding
        (height, width), (down, across) = image, self.reach(kernel)
        return (
            (height + top + bottom - down) // self.strides[0] + 1,
            (width + left + right - across) // self.strides[1] + 1,
        )

    @property
    def turned(self) -> Window:
        """The same along the other axis: x for y."""
        top, left, bottom, right = self.padding
        return Window(self.strides[::-1], (left, top, right, bottom), self.dilation[::-1])

    def reach(self, kernel: Sequence[int]) -> tuple[int, int]:
        """Rows and columns of the image under one output."""
        down, across = ((size - 1) * dilation + 1 for size, dilation in zip(kernel, self.dilation, strict=True))
        return down, across

    def covering(self, output: Sequence[int], image: Sequence[int], kernel: Sequence[int]) -> Window:
        """The window with padding enough for ``output`` rows and columns, no fewer than it has."""
        top, left, bottom, right = self.padding
        below, beside = (
            (count - 1) * stride + reach - extent
            for count, stride, reach, extent in zip(output, self.strides, self.reach(kernel), image, strict=True)
        )
        padding = (top, left, max(bottom, below - top), max(right, beside - left))
        return Window(self.strides, padding, self.dilation)


@dataclass(frozen=True)
class Image:
    """Images as a tensor whose axes ``layout`` names: ``NHWC``, ``NCHW``, or ``NHC`` with one column."""

    data: te.Tensor
    layout: str = "NHWC"

    def extent(self, axis: str) -> int:
        """The size of one of the axes N, H, W, C."""
        return shape_of(self.data)[self.layout.index(axis)] if axis in self.layout else 1

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.extent("H"), self.extent("W")

    def at(self, n: tirx.PrimExpr, y: tirx.PrimExpr, x: tirx.PrimExpr, c: tirx.PrimExpr) -> tirx.PrimExpr:
        """One value."""
        place = {"N": n, "H": y, "W": x, "C": c}
        return self.data[tuple(place[axis] for axis in self.layout)]

    def padded(self, padding: tuple[int, int, int, int], channels: int) -> Image:
        """The image with zeros around it, and so many channels; itself where that changes nothing."""
        if not any(padding) and channels == self.extent("C"):
            return self
        top, left, bottom, right = padding
        before = {"H": top, "W": left}
        given = dict(zip(self.layout, shape_of(self.data), strict=True))
        around = {"H": top + bottom, "W": left + right}
        full = {axis: given[axis] + around.get(axis, 0) for axis in given} | {"C": channels}

        def inside(*at: tirx.PrimExpr) -> tirx.PrimExpr:
            place = {axis: where - before.get(axis, 0) for axis, where in zip(self.layout, at, strict=True)}
            bounds = [place[axis] >= 0 for axis in given if before.get(axis, 0)]
            bounds += [
                place[axis] < given[axis] for axis in given if full[axis] > given[axis] + before.get(axis, 0)
            ]
            value = self.data[tuple(place[axis] for axis in self.layout)]
            return tirx.if_then_else(tirx.all(*bounds), value, tirx.const(0, self.data.dtype))

        shape = tuple(full[axis] for axis in self.layout)
        return Image(te.compute(shape, inside, name=PADDING), self.layout)


def cut(full: te.Tensor, channels: int) -> te.Tensor:
    return te.compute((*shape_of(full)[:-1], channels), lambda *at: full[at], name="cut")


def shape_of(tensor: te.Tensor) -> tuple[int, ...]:
    shape: Sequence[tirx.PrimExpr] = tensor.shape
    return tuple(int(extent) for extent in shape)
