"""Transposed convolutions as convolutions of stride 1 for each phase of the output (Shi et al., 2016).

Output row s q + p takes the taps r for which p + padding - r divides by the stride s, so the outputs of a phase p
are a convolution with every s-th tap of the kernel, and no zeros are multiplied where s divides the kernel. A tile
holds all the phases of its columns, so that it is stored in order and scheduled as that of a convolution.
"""

from __future__ import annotations

from tvm import te, tirx

from evaluators.compile.choices import Choice, written
from evaluators.compile.kernels.convolution import NAME
from evaluators.compile.kernels.emit import Index
from evaluators.compile.kernels.image import Image, shape_of
from evaluators.compile.tiles import padded


def transposed(
    data: te.Tensor,
    weight: te.Tensor,
    strides: tuple[int, int],
    padding: tuple[int, int],
    shape: tuple[int, ...],
    groups: int,
    choice: Choice,
) -> te.Tensor:
    """(N, H, W, G * I) with packed (SY * SX * O', JH, JW, I, T) to ``shape`` (N, OH, OW, O), padded top and left.

    JH and JW are the taps of a phase, the last zeros where a phase has fewer. With several groups the tile divides
    the output channels of a group.
    """
    panels, down, across, inputs, tile = shape_of(weight)
    batch, height, width, _ = shape
    (sy, sx), (top, left) = strides, padding
    rows, columns = padded(height, choice["rows"]), padded(width, choice["columns"])
    image = Image(data)
    before = down - 1, across - 1
    after = [
        max(0, (count - 1 + pad) // stride + 1 - extent)
        for count, stride, pad, extent in zip((rows, columns), strides, padding, image.size, strict=True)
    ]
    source = image.padded((before[0], before[1], after[0], after[1]), groups * inputs)
    ry, rx = te.reduce_axis((0, down), "ry"), te.reduce_axis((0, across), "rx")
    rc = te.reduce_axis((0, inputs), "rc")
    of_phase = panels // (sy * sx)

    def value(n: Index, y: Index, x: Index, c: Index) -> tirx.PrimExpr:
        first = c // tile // (of_phase // groups) * inputs if groups > 1 else 0
        pixel = source.at(n, (y + top) // sy - ry + before[0], (x + left) // sx - rx + before[1], first + rc)
        panel = (y % sy * sx + x % sx) * of_phase + c // tile
        return te.sum(pixel * weight[panel, ry, rx, rc, c % tile], axis=[ry, rx, rc])

    full = te.compute((batch, rows, columns, of_phase * tile), value, f"{NAME}_transposed", attrs=written(choice))
    return te.compute(shape, lambda *at: full[at], "cut")
