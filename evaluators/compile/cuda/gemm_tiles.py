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
_MOST_SUMS = 16
"""Fragments of sums that a warp holds: 8 registers a thread each, of 255 that a thread may have."""
_BUSY_WARPS = 4
"""Warps that keep the tensor cores of a multiprocessor busy: one for each of its four parts."""
_SHARED_BYTES_A_CLOCK = 128
"""That a multiprocessor's shared memory delivers (CUDA C++ Programming Guide: 32 banks of 4 bytes)."""
_MOST_BLOCKS = 8
"""Blocks of threads that a multiprocessor runs side by side, here taken as the most."""


@dataclass(frozen=True)
class Tile:
    """A block of threads: ``warps_i`` x ``warps_j`` warps of ``fragments_i`` x ``fragments_j`` fragments each.

    ``fragments_k`` fragments of the sum are in shared memory at once; ``vector`` values are moved by one load.
    """

    warps_i: int
    warps_j: int
    fragments_i: int
    fragments_j: int
    fragments_k: int
    vector: int

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
        return operands + self.rows * (self.columns + 4) * _SINGLE


def tile_of(batch: int, rows: int, columns: int, terms: int, gpu: Gpu) -> Tile:
    """The tile that the model says is fastest for a product (batch, rows, columns, terms)."""
    return min(_tiles(terms, gpu), key=lambda tile: _clocks(tile, batch, rows, columns, terms, gpu))


def _tiles(terms: int, gpu: Gpu) -> Iterator[Tile]:
    deep = 2 if terms > FRAGMENT else 1
    for warps_i, warps_j, fragments_i, fragments_j in product(_WARPS, _WARPS, _FRAGMENTS, _FRAGMENTS):
        tile = Tile(warps_i, warps_j, fragments_i, fragments_j, deep, 1)
        if fragments_i * fragments_j <= _MOST_SUMS and tile.shared_bytes <= gpu.shared_bytes:
            yield Tile(warps_i, warps_j, fragments_i, fragments_j, deep, _vector(tile))


def _vector(tile: Tile) -> int:
    """The widest load (16 bytes at most) with which all threads of the block share both tiles evenly."""
    fewest = min(tile.rows, tile.columns) * tile.terms
    return max(1, min(8, fewest // (tile.warps * WARP)))


def _clocks(tile: Tile, batch: int, rows: int, columns: int, terms: int, gpu: Gpu) -> float:
    """Clocks of a multiprocessor: waves of blocks, each bound by tensor cores, shared memory or too few warps."""
    blocks = batch * math.ceil(rows / tile.rows) * math.ceil(columns / tile.columns)
    beside = max(1, min(_MOST_BLOCKS, gpu.shared_bytes * 2 // tile.shared_bytes))
    waves = math.ceil(blocks / (gpu.multiprocessors * beside))
    there = min(beside, math.ceil(blocks / gpu.multiprocessors))
    rate = gpu.peak.get("float16", gpu.peak["float32"]) / (gpu.multiprocessors * gpu.clock_ghz * 1e9)
    depth = math.ceil(terms / tile.terms) * tile.terms
    busy = min(1.0, there * tile.warps / _BUSY_WARPS)
    multiply = 2 * tile.rows * tile.columns * depth / (rate * busy)
    read = (
        tile.rows / tile.fragments_i / FRAGMENT * tile.columns
        + tile.columns / tile.fragments_j / FRAGMENT * tile.rows
    )
    moved = (tile.rows + tile.columns + read) * depth * _HALF / _SHARED_BYTES_A_CLOCK
    stored = tile.rows * tile.columns * _SINGLE * 2 / _SHARED_BYTES_A_CLOCK
    return waves * there * (max(multiply, moved) + stored)
