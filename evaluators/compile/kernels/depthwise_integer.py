"""Depthwise convolutions of bytes by VPMADDUBSW, written out.

A row of ``columns`` output pixels times a block of channels is summed at once. Two rows of the kernel are taken
together: the bytes of two image rows at one column are interleaved once for all the pixels that they reach, and
one instruction adds their two products in 16 bits. There they are summed over as many rows as the weights allow
without overflow (``integers.joined_rows``); only the sum of these parts is 32 bits wide. The image is padded
already.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import te, tirx
from tvm.ir import Expr
from tvm.tirx import BufferLoad, BufferStore, ForKind, Shuffle, Stmt, Var

from evaluators.compile.integers import joined_rows
from evaluators.compile.kernels.emit import Index, index, loop, ramp, sequence, vector, whole
from evaluators.compile.kernels.epilogue import Finish, plain
from evaluators.compile.kernels.image import Window
from evaluators.compile.kernels.written_stage import written_stage

NAME = "integer_depthwise"
WIDTHS = {32: "llvm.x86.avx2.pmadd.ub.sw", 16: "llvm.x86.avx2.pmadd.ub.sw", 8: "llvm.x86.ssse3.pmadd.ub.sw.128"}
"""Channels of a block, with the instruction that multiplies them (32 are two of its operands)."""
COLUMNS = 4
"""Pixels summed at once: their sums are half of the 16 registers."""


@dataclass(frozen=True)
class IntegerDepthwise:
    """A depthwise convolution of bytes (``batch``, *``image``, ``channels``), channels a multiple of 8."""

    batch: int
    image: tuple[int, int]
    channels: int
    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilation: tuple[int, int]
    parallel: bool = False

    @property
    def output(self) -> tuple[int, int]:
        """Rows and columns of the output."""
        return Window(self.strides, (0, 0, 0, 0), self.dilation).output(self.image, self.kernel)

    @property
    def work(self) -> int:
        """Multiply-adds."""
        return self.batch * self.output[0] * self.output[1] * self.channels * self.kernel[0] * self.kernel[1]

    @property
    def row_pairs(self) -> int:
        """Pairs of rows of the kernel; the last may lack its second."""
        return -(-self.kernel[0] // 2)

    @property
    def parts(self) -> int:
        """Sums in 16 bits of an output."""
        return -(-self.kernel[0] // joined_rows(self.kernel))

    def blocks(self) -> list[tuple[int, int]]:
        """First channel and width of all blocks of channels."""
        found, first = [], 0
        for width in WIDTHS:
            while self.channels - first >= width:
                found.append((first, width))
                first += width
        return found


def pack_weights(weights: NDArray[np.int8], layer: IntegerDepthwise) -> NDArray[np.int8]:
    """(KH, KW, C) as one line: by block of channels, pair of rows and column, interleaved as the image is."""
    height, width, channels = weights.shape
    even = np.concatenate([weights, np.zeros((height % 2, width, channels), np.int8)])
    pairs = even.reshape(-1, 2, width, channels).transpose(0, 2, 3, 1)
    packed = [pairs[:, :, first : first + size][:, :, _order(size)] for first, size in layer.blocks()]
    return np.ascontiguousarray(np.concatenate([block.reshape(-1) for block in packed]))


def integer_depthwise_stage(data: te.Tensor, weight: te.Tensor, layer: IntegerDepthwise) -> te.Tensor:
    """The kernel as one opaque stage that remembers its layer: bytes to int32 sums (N, OH, OW, C)."""
    remembered = (*layer.image, *layer.kernel, *layer.strides, *layer.dilation)
    notes = {"layer": " ".join(map(str, remembered))}
    shape = (layer.batch, *layer.output, layer.channels)

    def body(source: Any, packed: Any, full: Any) -> Stmt:
        return integer_depthwise(layer, source, packed, plain(full))

    return written_stage(NAME, (data, weight), shape, "int32", body, 2 * layer.work, notes)


def read_integer_layer(block: Any) -> IntegerDepthwise:
    """The layer that the stage of ``integer_depthwise_stage`` remembers."""
    batch, *_, channels = (int(extent) for extent in block.reads[0].source.shape)
    height, width, kh, kw, sy, sx, dy, dx = (int(number) for number in str(block.annotations["layer"]).split())
    return IntegerDepthwise(batch, (height, width), channels, (kh, kw), (sy, sx), (dy, dx))


def integer_depthwise(layer: IntegerDepthwise, data: Any, weight: Any, finish: Finish) -> Stmt:
    """The whole kernel from bytes (N, H, W, C) and packed weights; ``finish`` stores the sums."""
    height, width = layer.output
    columns = min(COLUMNS, width)

    def row(at: Index) -> Stmt:
        n, y = at // height, at % height

        def tile(c: Index, size: int, number: Index) -> Stmt:
            first = Var("first", "int64")
            covered = number * columns
            start = covered if width % columns == 0 else tirx.min(covered, whole(width - columns))
            body = _Tile(layer, data, weight, finish, n, y, first, columns, c, size).statement()
            return sequence(tirx.Bind(first, index(start)), body)

        def block(c: Index, size: int) -> Stmt:
            return loop(-(-width // columns), lambda number: tile(c, size, number), "x")

        return sequence(*_over_blocks(layer, block))

    return loop(layer.batch * height, row, "row", ForKind.PARALLEL if layer.parallel else ForKind.SERIAL)


def _over_blocks(layer: IntegerDepthwise, block: Any) -> list[Stmt]:
    """``block(first channel, width)`` over all blocks, those of one width in a loop."""
    found = []
    for width in WIDTHS:
        firsts = [first for first, size in layer.blocks() if size == width]
        if firsts:
            start = firsts[0]
            found.append(loop(len(firsts), lambda i, w=width, s=start: block(i * w + s, w), name="c"))  # type: ignore[misc]
    return found


@dataclass(frozen=True)
class _Tile:
    """``columns`` pixels from (``y``, ``first``) on, in ``size`` channels from ``c`` on."""

    layer: IntegerDepthwise
    data: Any
    weight: Any
    finish: Finish
    n: Index
    y: Index
    first: Any
    columns: int
    c: Index
    size: int

    def statement(self) -> Stmt:
        layer = self.layer
        sums = tirx.decl_buffer(
            [whole(layer.parts), whole(self.columns), whole(self.size)], "int16", "sums", layout=None
        )
        pairs_a_part = -(-joined_rows(layer.kernel) // 2)
        parts = [
            self._part(sums, part, range(part * pairs_a_part, min((part + 1) * pairs_a_part, layer.row_pairs)))
            for part in range(layer.parts)
        ]
        return sequence(tirx.AllocBuffer(sums), *parts, loop(self.columns, lambda p: self._finished(sums, p), "p"))

    def _finished(self, sums: Any, p: Index) -> Stmt:
        def lane(v: Index) -> Stmt:
            parts = [BufferLoad(sums, [whole(part), index(p), v]) for part in range(self.layer.parts)]
            total = parts[0].astype("int32")
            for part in parts[1:]:
                total = total + part.astype("int32")
            return self.finish(total, (self.n, self.y, self.first + p, self.c + v))

        return vector(self.size, lane)

    def _part(self, sums: Any, part: int, pairs: range) -> Stmt:
        """The sums in 16 bits over some pairs of rows, kept in the order of the channels."""
        statements: list[Stmt] = []
        totals: dict[tuple[int, int], Expr] = {}
        for half in range(len(_halves(self.size))):  # one after the other: the registers hold the sums of one
            for pair in pairs:
                for x, products in self._reached().items():
                    bytes_ = self._interleaved(pair, x, half, statements)
                    for p, tap in products:
                        added = self._product(bytes_, pair, tap, half)
                        total = added if (p, half) not in totals else totals[p, half] + added
                        totals[p, half] = _bound(total, statements)
        for p in range(self.columns):
            halves = [totals[p, half] for half in range(len(_halves(self.size)))]
            lanes = 16 if self.size == 32 else self.size
            for number, values in enumerate(_in_order(halves)):
                place = [whole(part), whole(p), ramp(number * lanes, lanes)]
                statements.append(BufferStore(sums, values, place))
        return sequence(*statements)

    def _reached(self) -> dict[int, list[tuple[int, int]]]:
        """By column of the image from the tile's first on: the pixels that it reaches, and by which tap."""
        found: dict[int, list[tuple[int, int]]] = {}
        for p in range(self.columns):
            for tap in range(self.layer.kernel[1]):
                x = p * self.layer.strides[1] + tap * self.layer.dilation[1]
                found.setdefault(x, []).append((p, tap))
        return dict(sorted(found.items()))

    def _interleaved(self, pair: int, x: int, half: int, statements: list[Stmt]) -> Expr:
        """The bytes of two rows at a column, one of each in turn; of the last row alone with zeros."""
        layer = self.layer
        rows = []
        for row in (2 * pair, 2 * pair + 1):
            if row < layer.kernel[0]:
                place = [
                    index(self.n),
                    self.y * layer.strides[0] + row * layer.dilation[0],
                    self.first * layer.strides[1] + x,
                    ramp(self.c, self.size),
                ]
                rows.append(_bound(BufferLoad(self.data, place), statements))
            else:
                rows.append(tirx.const(0, f"uint8x{self.size}"))
        return _bound(Shuffle(rows, list(map(whole, _halves(self.size)[half]))), statements)

    def _product(self, bytes_: Expr, pair: int, tap: int, half: int) -> Expr:
        """The products of one operand of the instruction, two added in each 16 bits."""
        count = 2 * self.size // len(_halves(self.size))
        layer = self.layer
        of_block = self.c * (layer.row_pairs * layer.kernel[1] * 2)
        place = of_block + (pair * layer.kernel[1] + tap) * 2 * self.size + half * count
        weights = BufferLoad(self.weight, [ramp(place, count)])
        signed = tirx.reinterpret(f"int8x{count}", bytes_)
        return tirx.call_llvm_pure_intrin(f"int16x{count // 2}", WIDTHS[self.size], signed, weights)


def _halves(size: int) -> list[list[int]]:
    """Which of two vectors' values lie in each operand of the instruction: 32 stay in their 128 bits."""
    lanes = [_channels(0, 8) + _channels(16, 8), _channels(8, 8) + _channels(24, 8)]
    operands = lanes if size == 32 else [_channels(0, size)]
    return [[place for channel in operand for place in (channel, channel + size)] for operand in operands]


def _channels(first: int, count: int) -> list[int]:
    return list(range(first, first + count))


def _order(size: int) -> list[int]:
    """The channels of a block as the operands hold them."""
    return [place for operand in _halves(size) for place in operand[::2]]


def _in_order(halves: list[Expr]) -> list[Expr]:
    """Sums of the operands as vectors in the order of the channels."""
    if len(halves) == 1:
        return halves
    lanes = [_channels(0, 8) + _channels(16, 8), _channels(8, 8) + _channels(24, 8)]
    return [Shuffle(halves, list(map(whole, places))) for places in lanes]


def _bound(value: Expr, statements: list[Stmt]) -> Expr:
    variable = Var("v", str(value.ty.dtype))
    statements.append(tirx.Bind(variable, value))
    return variable
