"""Depthwise convolutions, written out.

A tile of output columns of one row, times a vector of channels, is held in registers; each input vector is read
once for a row of the kernel and multiplied into all the columns that it reaches. The image is never padded: rows
of the kernel outside of it are left out of the loop, and the tiles at the left and right edge, which are written
apart, leave out the products that fall outside. Weights are (C', KH, KW, lanes), so that those of a vector lie in
a row. The image may be of whole numbers: they become floats as they are read.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tvm import te, tirx
from tvm.tirx import For, ForKind, Stmt, Var

from evaluators.compile.choices import Choice, read, written
from evaluators.compile.kernels.emit import (
    Index,
    bind,
    buffer,
    constant,
    load,
    loop,
    over_channels,
    sequence,
    store,
    vector_type,
    whole,
)
from evaluators.compile.kernels.epilogue import Finish, plain
from evaluators.compile.kernels.image import Window
from evaluators.compile.kernels.written_stage import written_stage

NAME = "depthwise"


@dataclass(frozen=True)
class Depthwise:
    """A depthwise convolution of (``batch``, *``image``, ``channels``) and how it is cut.

    A job takes one of ``parts`` of the channels and a block of ``rows``; a tile is ``columns`` wide. An image
    along a line (``line``) has one row, and its tensors no axis for it.
    """

    batch: int
    image: tuple[int, int]
    channels: int
    kernel: tuple[int, int]
    window: Window
    line: bool
    choice: Choice
    parallel: bool = False

    @cached_property
    def output(self) -> tuple[int, int]:
        """Rows and columns of the output."""
        return self.window.output(self.image, self.kernel)

    @property
    def work(self) -> int:
        """Multiply-adds."""
        return self.batch * self.output[0] * self.output[1] * self.channels * self.kernel[0] * self.kernel[1]

    @property
    def output_shape(self) -> tuple[int, ...]:
        return self.place(self.batch, *self.output, self.channels)

    def place(self, n: Index, y: Index, x: Index, c: Index) -> tuple[Index, ...]:
        """The indices of a value in the tensors of the layer."""
        return (n, x, c) if self.line else (n, y, x, c)

    def taps(self, x: int) -> dict[int, int]:
        """Which columns of the kernel fall into the image at output column ``x``, and on which of its columns."""
        first = x * self.window.strides[1] - self.window.padding[1]
        places = {tap: first + tap * self.window.dilation[1] for tap in range(self.kernel[1])}
        return {tap: place for tap, place in places.items() if 0 <= place < self.image[1]}


def depthwise_stage(data: te.Tensor, weight: te.Tensor, layer: Depthwise) -> te.Tensor:
    """The kernel as one opaque stage that remembers its layer."""
    window = layer.window
    remembered = (*layer.image, *window.strides, *window.padding, *window.dilation)
    notes = {**written(layer.choice), "window": " ".join(map(str, remembered))}

    def body(source: Any, packed: Any, full: Any) -> Stmt:
        return depthwise(layer, source, packed, plain(full))

    return written_stage(NAME, (data, weight), layer.output_shape, "float32", body, 2 * layer.work, notes)


def read_layer(block: Any) -> Depthwise:
    """The layer that the stage of ``depthwise_stage`` remembers."""
    shape, (_, *kernel, _) = (tuple(int(extent) for extent in part.source.shape) for part in block.reads)
    height, width, *window = (int(number) for number in str(block.annotations["window"]).split())
    sy, sx, top, left, bottom, right, dy, dx = window
    return Depthwise(
        shape[0],
        (height, width),
        shape[-1],
        (kernel[0], kernel[1]),
        Window((sy, sx), (top, left, bottom, right), (dy, dx)),
        len(shape) == 3,
        read(block.annotations),
    )


def depthwise(layer: Depthwise, data: Any, weight: Any, finish: Finish) -> Stmt:
    """The whole kernel from ``data`` (N, H, W, C) and packed weights; ``finish`` stores the outputs."""
    choice, (height, _) = layer.choice, layer.output
    rows, parts = choice["rows"], choice["parts"]
    blocks, share = -(-height // rows), layer.channels // parts

    def job(at: Index) -> Stmt:
        n, y, part = at // (parts * blocks), at // parts % blocks * rows, at % parts
        count = whole(rows) if height % rows == 0 else tirx.min(height - y, whole(rows))

        def vector(c: Index, width: int) -> Stmt:
            strip = _Strip(layer, data, weight, finish, n, part * share + c, width)
            row = Var("row", "int64")
            return For(row, whole(0), count, ForKind.SERIAL, strip.row(y + row))

        return over_channels(share, choice["lanes"], vector)

    kind = ForKind.PARALLEL if layer.parallel else ForKind.SERIAL
    return loop(layer.batch * blocks * parts, job, "job", kind)


@dataclass(frozen=True)
class _Strip:
    """The rows of one image in ``width`` channels from ``c`` on."""

    layer: Depthwise
    data: Any
    weight: Any
    finish: Finish
    n: Index
    c: Index
    width: int

    def row(self, y: Index) -> Stmt:
        """One row of the output: tiles with all taps in a loop, those at the edges written out."""
        layer, size, total = self.layer, self.layer.choice["columns"], self.layer.output[1]
        whole_tiles = [
            first
            for first in range(0, total - size + 1, size)
            if all(len(layer.taps(x)) == layer.kernel[1] for x in (first, first + size - 1))
        ]
        tiles = []
        for first in range(0, total, size):
            if first not in whole_tiles:
                tiles.append(self._tile(y, 0, first, min(size, total - first)))
            elif first == whole_tiles[0]:
                count = len(whole_tiles)
                tiles.append(loop(count, lambda i, first=first: self._tile(y, i * size, first, size), name="x"))  # type: ignore[misc]
        return sequence(*tiles)

    def _tile(self, y: Index, moved: Index, first: int, count: int) -> Stmt:
        """``count`` output columns from ``first`` on, ``moved`` to the right where the taps are the same."""
        layer, width = self.layer, self.width
        accumulators = buffer("accumulators", count, width)
        ry = Var("ry", "int64")
        low, high = self._rows_of_kernel(y)

        def finished(p: int) -> Stmt:
            def lane(v: Index) -> Stmt:
                place = layer.place(self.n, y, moved + (first + p), self.c + v)
                return self.finish(load(accumulators, (p, v), 1), place)

            return loop(width, lane, "lane", ForKind.VECTORIZED)

        return sequence(
            tirx.AllocBuffer(accumulators),
            *(store(accumulators, constant(0, width), (p, 0), width) for p in range(count)),
            For(ry, low, high - low, ForKind.SERIAL, self._products(y, ry, moved, first, accumulators)),
            *(finished(p) for p in range(count)),
        )

    def _rows_of_kernel(self, y: Index) -> tuple[Any, Any]:
        """The first row of the kernel inside of the image, and the one behind the last."""
        layer = self.layer
        (sy, _), (top, _, bottom, _), (dy, _) = layer.window.strides, layer.window.padding, layer.window.dilation
        low, high = whole(0), whole(layer.kernel[0])
        above = top - y * sy
        if top:
            low = tirx.max(low, tirx.floordiv(above + (dy - 1), whole(dy)))
        if bottom:
            high = tirx.min(high, tirx.floordiv(above + (layer.image[0] + dy - 1), whole(dy)))
        return low, high

    def _products(self, y: Index, ry: Index, moved: Index, first: int, accumulators: Any) -> Stmt:
        """One row of the kernel times the inputs that it reaches, each read once."""
        layer, width = self.layer, self.width
        (sy, sx), (top, *_), (dy, _) = layer.window.strides, layer.window.padding, layer.window.dilation
        lanes, row = layer.choice["lanes"], y * sy + ry * dy - top
        reached: dict[int, list[tuple[int, int]]] = {}
        for p in range(int(accumulators.shape[0])):
            for tap, x in layer.taps(first + p).items():
                reached.setdefault(x, []).append((p, tap))
        statements: list[Stmt] = []
        taps = {
            tap: bind(
                load(self.weight, (tirx.floordiv(self.c, whole(lanes)), ry, tap, 0), width), width, statements
            )
            for tap in sorted({tap for products in reached.values() for _, tap in products})
        }
        for x, products in sorted(reached.items()):
            place = layer.place(self.n, row, x + moved * sx, self.c)
            loaded = load(self.data, place, width)
            value = bind(loaded.astype(vector_type(width)), width, statements)
            for p, tap in products:
                total = load(accumulators, (p, 0), width) + value * taps[tap]
                statements.append(store(accumulators, total, (p, 0), width))
        return sequence(*statements) if statements else tirx.Evaluate(0)
