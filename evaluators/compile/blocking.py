"""How a convolution is cut into register tiles, panels of weights and chunks of rows: modelled in cycles.

As in Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008): a tile of outputs is held
in registers while all its inputs and weights stream by; a panel of packed weights stays in the second-level cache
while the tiles of a chunk of rows pass over it. What the model weighs: multiply-adds, loads and latency of a
step; starting and storing a tile; rows, columns and channels computed only to be cut off; padded copies of the
input; weights read anew for each chunk; unequal shares of the threads.
"""

from __future__ import annotations

import dataclasses
import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass

from evaluators.compile.choices import Choice
from evaluators.compile.kernels.image import Window
from evaluators.compile.tiles import FLOAT_BITS, Tile, divisors, lanes_for, padded
from hw_profiles.profile import Profile

OPTIONS = 24
"""How many ways of a convolution are offered to be measured."""

_FMA_PER_CYCLE = 2
_LOADS_PER_CYCLE = 1.75
_FMA_LATENCY = 4
_SPILL_CYCLES = 3.0
_TILE_CYCLES = 16.0
_STORE_CYCLES = 1.5
_COPY_CYCLES = 3.0
"""For a vector of a padded copy: zeroed, read, written."""
_L2_SHARE = 0.75
_L2_BYTES_PER_CYCLE = 24.0
_L3_BYTES_PER_CYCLE = 10.0
_BYTES = FLOAT_BITS // 8
_TILES_KEPT = 6


@dataclass(frozen=True)
class Layer:
    """The sizes of a convolution: output rows and columns, and channels of one group of ``groups``."""

    batch: int
    rows: int
    columns: int
    inputs: int
    outputs: int
    groups: int
    image: tuple[int, int]
    kernel: tuple[int, int]
    window: Window

    @property
    def depth(self) -> int:
        """Products added up for one output."""
        return math.prod(self.kernel) * self.inputs

    @property
    def turned(self) -> Layer:
        """The same with columns for rows."""
        return dataclasses.replace(
            self,
            rows=self.columns,
            columns=self.rows,
            image=self.image[::-1],
            kernel=self.kernel[::-1],
            window=self.window.turned,
        )

    def padding(self, tile: Tile) -> tuple[int, int, int, int]:
        """The padding of the image under whole tiles."""
        covered = padded(self.rows, tile.rows), padded(self.columns, tile.columns)
        return self.window.covering(covered, self.image, self.kernel).padding

    def source_rows(self, rows: int) -> int:
        """Rows of the image under so many rows of the output."""
        return (rows - 1) * self.window.strides[0] + self.window.reach(self.kernel)[0]


def convolution_options(layer: Layer, profile: Profile) -> list[Choice]:
    """Ways to compute the layer, by modelled cycles, the fewest first."""
    tiles = heapq.nsmallest(
        _TILES_KEPT, _tiles(layer, profile), key=lambda tile: _arithmetic(layer, tile, profile)
    )
    ways = [
        (_cycles(layer, tile, chunk, parts, profile), tile, chunk, parts)
        for tile in tiles
        for chunk, parts in _orders(layer, tile, profile)
    ]
    return [
        {**tile.choice, "chunk": chunk, "parts": parts}
        for _, tile, chunk, parts in heapq.nsmallest(OPTIONS, ways, key=lambda way: way[0])
    ]


def _tiles(layer: Layer, profile: Profile) -> Iterator[Tile]:
    lanes = lanes_for(layer.outputs, profile.vector_bits)
    if layer.groups > 1:
        lanes = math.gcd(lanes, layer.outputs)
    registers = profile.vector_registers
    for vectors in range(1, min(registers // 2, -(-layer.outputs // lanes)) + 1):
        if layer.groups > 1 and layer.outputs % (vectors * lanes):
            continue
        for rows in (1, 2, 4) if layer.columns > 1 else range(1, min(registers, layer.rows) + 1):
            most = (registers - 1) // vectors // rows
            for columns in range(1, min(most, layer.columns) + 1):
                if rows <= layer.rows:
                    yield Tile(rows, columns, vectors, lanes)


def _arithmetic(layer: Layer, tile: Tile, profile: Profile) -> float:
    """Cycles of all tiles with everything in the caches."""
    pixels = tile.rows * tile.columns
    accumulators = pixels * tile.vectors
    spills = max(0, accumulators + tile.vectors + 1 - profile.vector_registers)
    loads = (pixels + tile.vectors) / _LOADS_PER_CYCLE
    panel = tile.vectors * tile.lanes * _BYTES / _L2_BYTES_PER_CYCLE
    step = max(accumulators / _FMA_PER_CYCLE, loads, panel, _FMA_LATENCY) + _SPILL_CYCLES * spills
    store = _TILE_CYCLES + _STORE_CYCLES * accumulators
    return _count(layer, tile) * (layer.depth * step + store)


def _count(layer: Layer, tile: Tile) -> int:
    across = -(-layer.columns // tile.columns)
    panels = -(-layer.outputs // tile.channels) * layer.groups
    return layer.batch * -(-layer.rows // tile.rows) * across * panels


def _orders(layer: Layer, tile: Tile, profile: Profile) -> Iterator[tuple[int, int]]:
    """Rows of tiles in a chunk, and parts that the panels of weights are dealt out in."""
    down = -(-layer.rows // tile.rows)
    panels = layer.groups * -(-layer.outputs // tile.channels)
    for chunk in divisors(down, down):
        for parts in {1, *(part for part in (profile.threads, 2 * profile.threads) if panels % part == 0)}:
            yield chunk, parts


def _cycles(layer: Layer, tile: Tile, chunk: int, parts: int, profile: Profile) -> float:
    """Cycles of the busiest thread."""
    chunks = layer.batch * (-(-layer.rows // tile.rows) // chunk)
    units = chunks * parts
    share = -(-units // profile.threads) / units
    padding = layer.padding(tile)
    columns = layer.image[1] + padding[1] + padding[3]
    inputs = layer.inputs * layer.groups
    source = layer.source_rows(chunk * tile.rows) * columns * inputs
    copies = source * units / tile.lanes * _COPY_CYCLES if any(padding) else 0.0
    panel = layer.depth * tile.channels * _BYTES
    held = source * _BYTES + panel
    weights = panel * -(-layer.outputs // tile.channels) * layer.groups * chunks
    passes = weights / _L3_BYTES_PER_CYCLE / 4
    if held > _L2_SHARE * profile.l2_bytes:
        passes += source * _BYTES * units * -(-layer.outputs // tile.channels) / parts / _L3_BYTES_PER_CYCLE / 4
    return share * (_arithmetic(layer, tile, profile) + copies + passes)
