"""Maximum and average pooling of NHWC images, written out.

Several vectors of channels of one output pixel are held in registers while the window passes over them; rows and
columns of the window outside of the image are left out of its loops, so that images are never padded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from tvm import s_tir, te, tirx
from tvm.tirx import For, ForKind, Stmt, Var

from evaluators.compile.choices import OPERATIONS
from evaluators.compile.kernels.emit import (
    Index,
    buffer,
    constant,
    load,
    loop,
    sequence,
    store,
    whole,
    whole_region,
)
from evaluators.compile.kernels.epilogue import Finish, plain
from evaluators.compile.kernels.image import Window

NAME = "pooling"
VECTORS = 8
"""Vectors of channels held at once; half of the registers of a small processor."""


@dataclass(frozen=True)
class Pooling:
    """Pooling of (``batch``, *``image``, ``channels``) to ``output`` rows and columns.

    ``maximum`` or else the average, over the pixels of the window that lie in the image or, where it is
    ``padded``, over those that lie in the padding too. ``output`` may have one more row or column than the window
    fits (rounding up).
    """

    batch: int
    image: tuple[int, int]
    channels: int
    kernel: tuple[int, int]
    window: Window
    output: tuple[int, int]
    maximum: bool
    padded: bool
    lanes: int
    parallel: bool = False

    @property
    def work(self) -> int:
        """Elements compared or added."""
        return self.batch * math.prod(self.output) * math.prod(self.kernel) * self.channels


def pooling_stage(data: te.Tensor, layer: Pooling) -> te.Tensor:
    """The kernel as one opaque stage that remembers its layer."""
    source = tirx.decl_buffer(data.shape, data.dtype, "data", layout=None)
    full = buffer("full", layer.batch, *layer.output, layer.channels)
    window = layer.window
    remembered = (
        *layer.kernel,
        *window.strides,
        *window.padding,
        *window.dilation,
        layer.maximum,
        layer.padded,
        layer.lanes,
    )
    notes = {"pooling": " ".join(str(int(number)) for number in remembered), OPERATIONS: layer.work}
    body = pooling(layer, source, plain(full))
    block = s_tir.SBlock([], [whole_region(source)], [whole_region(full)], NAME, body, annotations=notes)
    return te.extern(
        [full.shape],
        [data],
        lambda ins, outs: s_tir.SBlockRealize([], True, block),
        NAME,
        in_buffers=[source],
        out_buffers=[full],
    )


def read_pooling(block: Any) -> Pooling:
    """The layer that the stage of ``pooling_stage`` remembers."""
    (batch, *image, channels), (_, *output, _) = (
        tuple(int(extent) for extent in region[0].source.shape) for region in (block.reads, block.writes)
    )
    numbers = [int(number) for number in str(block.annotations["pooling"]).split()]
    kh, kw, sy, sx, top, left, bottom, right, dy, dx, maximum, padded, lanes = numbers
    return Pooling(
        batch,
        (image[0], image[1]),
        channels,
        (kh, kw),
        Window((sy, sx), (top, left, bottom, right), (dy, dx)),
        (output[0], output[1]),
        bool(maximum),
        bool(padded),
        lanes,
    )


def pooling(layer: Pooling, data: Any, finish: Finish) -> Stmt:
    """The whole kernel from ``data`` (N, H, W, C); ``finish`` stores the outputs."""
    height, width = layer.output

    def row(at: Index) -> Stmt:
        n, y = tirx.floordiv(at, whole(height)), tirx.floormod(at, whole(height))

        def pixel(x: Index) -> Stmt:
            return _pixel(layer, data, finish, (n, y, x))

        return loop(width, pixel, name="x")

    kind = ForKind.PARALLEL if layer.parallel else ForKind.SERIAL
    return loop(layer.batch * height, row, "row", kind)


def _pixel(layer: Pooling, data: Any, finish: Finish, place: tuple[Index, Index, Index]) -> Stmt:
    """All channels of an output, a few vectors at a time, then the rest."""
    step, parts = VECTORS * layer.lanes, []

    def some(c: Index, vectors: int, lanes: int) -> None:
        parts.append(_vectors(layer, data, finish, (*place, c), vectors, lanes))

    whole_steps, rest = divmod(layer.channels, step)
    if whole_steps:
        parts.append(
            loop(
                whole_steps,
                lambda c: _vectors(layer, data, finish, (*place, c * step), VECTORS, layer.lanes),
                name="c",
            )
        )
    vectors, last = divmod(rest, layer.lanes)
    if vectors:
        some(whole(whole_steps * step), vectors, layer.lanes)
    if last:
        some(whole(layer.channels - last), 1, last)
    return sequence(*parts)


def _vectors(
    layer: Pooling, data: Any, finish: Finish, place: tuple[Index, ...], vectors: int, lanes: int
) -> Stmt:
    n, y, x, c = place
    held = [buffer("held", lanes) for _ in range(vectors)]
    (rows, all_rows), (columns, all_columns) = (_bounds(layer, axis, at) for axis, at in ((0, y), (1, x)))
    (sy, sx), (top, left, *_), (dy, dx) = layer.window.strides, layer.window.padding, layer.window.dilation
    ry, rx = Var("ry", "int64"), Var("rx", "int64")
    image = (n, y * sy + ry * dy - top, x * sx + rx * dx - left)

    def taken(number: int) -> Stmt:
        more, so_far = load(data, (*image, c + number * lanes), lanes), load(held[number], (0,), lanes)
        return store(held[number], tirx.max(so_far, more) if layer.maximum else so_far + more, (0,), lanes)

    start = constant(-math.inf if layer.maximum else 0.0, lanes)
    over_columns = For(
        rx, columns[0], columns[1] - columns[0], ForKind.SERIAL, sequence(*map(taken, range(vectors)))
    )
    count = all_rows * all_columns if layer.padded else (rows[1] - rows[0]) * (columns[1] - columns[0])

    def finished(number: int) -> Stmt:
        def lane(v: Index) -> Stmt:
            value = load(held[number], (v,), 1)
            if not layer.maximum:
                value = value / tirx.Cast("float32", count)
            return finish(value, (n, y, x, c + number * lanes + v))

        return loop(lanes, lane, "lane", ForKind.VECTORIZED)

    return sequence(
        *map(tirx.AllocBuffer, held),
        *(store(part, start, (0,), lanes) for part in held),
        For(ry, rows[0], rows[1] - rows[0], ForKind.SERIAL, over_columns),
        *map(finished, range(vectors)),
    )


def _bounds(layer: Pooling, axis: int, at: Index) -> tuple[tuple[Any, Any], Any]:
    """The first place of the window in the image, the one behind the last, and how many with those in padding."""
    before, after = layer.window.padding[axis], layer.window.padding[axis + 2]
    stride, dilation = layer.window.strides[axis], layer.window.dilation[axis]
    extent, size, count = layer.image[axis], layer.kernel[axis], layer.output[axis]
    first = at * stride - before

    def steps_to(end: int) -> Any:
        """Places of the window before ``end``, rounding up."""
        over = (count - 1) * stride - before + (size - 1) * dilation >= end
        return tirx.min(whole(size), _ceil(end - first, dilation)) if over else whole(size)

    low = tirx.max(whole(0), _ceil(-first, dilation)) if before else whole(0)
    return (low, steps_to(extent)), steps_to(extent + after)


def _ceil(number: Any, by: int) -> Any:
    return number if by == 1 else tirx.floordiv(number + (by - 1), whole(by))
