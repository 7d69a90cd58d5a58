"""Which tile of a product a block of threads computes, by a model of the GPU."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from evaluators.compile.cuda.fragments import FRAGMENT
from hw_profiles.gpu import Gpu

WARP = 32
_HALF, _SINGLE = 2, 4
_WARPS = (1, 2, 4)
_FRAGMENTS = (1, 2, 4)
_SIDES = tuple(product(_WARPS, _FRAGMENTS))
"""Warps and fragments along a side of a tile."""
_MOST_SUMS = 16
"""Fragments of sums that a warp holds: 8 registers a thread each, of 255 that a thread may have."""
_DEPTHS, _SLICES, _AHEAD = (1, 2, 4), (1, 2, 4, 8, 16), (True, False)
_MOST_BLOCKS = 4
"""Blocks of threads that a multiprocessor is taken to run side by side."""
_SHARED_BYTES_A_CLOCK = 128
"""That a multiprocessor's shared memory delivers (CUDA C++ Programming Guide: 32 banks of 4 bytes)."""
_VECTOR = 8
"""Values of float16 that one load takes."""
_RATE, _STORE = 0.6, 3.8
"""Of the tensor cores' peak that ``wmma`` reaches; how much longer storing takes than shared memory does."""
_WAITS, _WAITS_AHEAD, _ADDRESS = 580, 360, 85
"""Clocks from asking for a step's values to their being there, if asked for ahead, and to work out an address."""
_SECOND, _SUM = 3500, 0.46
"""Clocks of the kernel that adds up slices, and of each value it reads."""


@dataclass(frozen=True)
class Tile:
    """A block of threads: ``warps_i`` x ``warps_j`` warps of ``fragments_i`` x ``fragments_j`` fragments each.

    ``fragments_k`` fragments of the sum are in shared memory at once, or twice as many where the next ones are
    fetched ``ahead``. The sum is cut into ``slices`` that different blocks compute.
    """

    warps_i: int
    warps_j: int
    fragments_i: int
    fragments_j: int
    fragments_k: int
    slices: int = 1
    ahead: bool = False

    @property
    def rows(self) -> int:
        """Of the product's left side."""
        return self.warps_i * self.fragments_i * FRAGMENT

    @property
    def columns(self) -> int:
        """Of the product's right side."""
        return self.warps_j * self.fragments_j * FRAGMENT

    @property
    def terms(self) -> int:
        """Of the sum, at once in shared memory."""
        return self.fragments_k * FRAGMENT

    @property
    def warps(self) -> int:
        """Of the block."""
        return self.warps_i * self.warps_j

    @property
    def shared_bytes(self) -> int:
        """Of the block: the operands and, while they are stored, the sums."""
        operands = (self.rows + self.columns) * (self.terms + 8) * _HALF
        return operands * (2 if self.ahead else 1) + self.rows * (self.columns + 4) * _SINGLE


def tile_of(batch: int, rows: int, columns: int, terms: int, gpu: Gpu) -> Tile:
    """The tile that the model says is fastest for a product (batch, rows, columns, terms)."""
    return min(
        tiles(rows, columns, terms, gpu), key=lambda tile: modelled_clocks(tile, batch, rows, columns, terms, gpu)
    )


def tiles(rows: int, columns: int, terms: int, gpu: Gpu) -> Iterator[Tile]:
    """The tiles that fit the GPU's shared memory and registers, and are not mostly padding."""
    fragments = -(-terms // FRAGMENT)
    depths = [depth for depth in _DEPTHS if depth == 1 or depth < 2 * fragments]
    slices = [count for count in _SLICES if count == 1 or fragments >= 4 * count]
    upright, across = (
        [each for each in _SIDES if each[0] * each[1] <= 2 * -(-extent // FRAGMENT)] for extent in (rows, columns)
    )
    for (warps_i, fragments_i), (warps_j, fragments_j), depth, count, ahead in product(
        upright, across, depths, slices, _AHEAD
    ):
        tile = Tile(warps_i, warps_j, fragments_i, fragments_j, depth, count, ahead)
        if tile.fragments_i * tile.fragments_j <= _MOST_SUMS and tile.shared_bytes <= gpu.shared_bytes:
            yield tile


def modelled_clocks(tile: Tile, batch: int, rows: int, columns: int, terms: int, gpu: Gpu) -> float:
    """Clocks that a product takes: waves of blocks, whose steps multiply, move values, or wait for them.

    Its constants were fitted to 28 tiles of each of 17 products on an NVIDIA H100: its choice takes 1.12 times as
    long as the best of those tiles in the geometric mean, and 1.5 times at worst. No other GPU was measured.
    """
    blocks = tile.slices * batch * math.ceil(rows / tile.rows) * math.ceil(columns / tile.columns)
    beside = max(1, min(_MOST_BLOCKS, gpu.shared_bytes * 3 // tile.shared_bytes))
    waves = math.ceil(blocks / (gpu.multiprocessors * beside))
    there = min(beside, math.ceil(blocks / gpu.multiprocessors))
    rate = gpu.peak.get("float16", gpu.peak["float32"]) / (gpu.multiprocessors * gpu.clock_ghz * 1e9)
    multiply = 2 * tile.rows * tile.columns * tile.terms / (rate * _RATE)
    gathered = (tile.rows + tile.columns) * tile.terms
    read = tile.warps * (tile.fragments_i + tile.fragments_j) * FRAGMENT * tile.terms
    moved = (gathered + read) * _HALF / _SHARED_BYTES_A_CLOCK
    step = max(multiply, moved)
    waits = (_WAITS_AHEAD if tile.ahead else _WAITS) + _ADDRESS * gathered / (_VECTOR * tile.warps * WARP)
    steps = math.ceil(terms / (tile.terms * tile.slices))
    stored = _STORE * tile.rows * tile.columns * _SINGLE * 2 / _SHARED_BYTES_A_CLOCK
    added = _SECOND + _SUM * tile.slices * batch * rows * columns / gpu.multiprocessors if tile.slices > 1 else 0
    return waves * (steps * max(there * step, step + waits) + there * stored) + added
