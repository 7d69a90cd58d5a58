"""Convolutions with packed weights."""

from __future__ import annotations

from tvm import te, tirx

from evaluators.compile.choices import Choice, written
from evaluators.compile.kernels.image import Image, Window, shape_of
from evaluators.compile.tiles import padded

NAME = "packed_convolution"


def convolution(
    image: Image, weight: te.Tensor, window: Window, channels: int, groups: int, choice: Choice
) -> te.Tensor:
    """Convolution of G * I channels with packed (O', KH, KW, I, T) to (N, OH, OW, ``channels``).

    An image of one column gives (N, OH, ``channels``). Rows and columns that do not divide by the tile are
    computed from more padding, and cut off. With several groups the tile divides the output channels of a group.
    """
    panels, *kernel, inputs, tile = shape_of(weight)
    height, width = window.output(image.size, kernel)
    rows, columns = padded(height, choice["rows"]), padded(width, choice["columns"])
    covering = window.covering((rows, columns), image.size, kernel)
    source = image.padded(_by_vectors(image, covering.padding, choice["lanes"]), groups * inputs)
    ry = te.reduce_axis((0, kernel[0]), "ry")
    rx = te.reduce_axis((0, kernel[1]), "rx")
    rc = te.reduce_axis((0, inputs), "rc")
    (sy, sx), (dy, dx) = window.strides, window.dilation

    def value(n: tirx.PrimExpr, y: tirx.PrimExpr, x: tirx.PrimExpr | int, c: tirx.PrimExpr) -> tirx.PrimExpr:
        first = c // tile // (panels // groups) * inputs if groups > 1 else 0
        pixel = source.at(n, y * sy + ry * dy, x * sx + rx * dx, first + rc)
        return te.sum(pixel * weight[c // tile, ry, rx, rc, c % tile], axis=[ry, rx, rc])

    batch, full_channels = image.extent("N"), panels * tile
    if "W" in image.layout:
        full = te.compute((batch, rows, columns, full_channels), value, NAME, attrs=written(choice))
        return te.compute((batch, height, width, channels), lambda *at: full[at], "cut")
    full = te.compute((batch, rows, full_channels), lambda n, y, c: value(n, y, 0, c), NAME, attrs=written(choice))
    return te.compute((batch, height, channels), lambda *at: full[at], "cut")


def _by_vectors(image: Image, padding: tuple[int, int, int, int], lanes: int) -> tuple[int, int, int, int]:
    """The padding, with whole vectors in a row of an image that is padded along its rows."""
    top, left, bottom, right = padding
    if image.layout[-1] == "W" and any(padding):
        right += -(image.extent("W") + left + right) % lanes
    return top, left, bottom, right
