"""Which register tile a matrix-like kernel uses: pixels times vectors of output channels.

The inner loop of a convolution or a dense layer adds, for each input channel, the outer product of ``pixels``
broadcast inputs and ``vectors`` vectors of weights into accumulators held in registers. The model below counts
the cycles of one such step (two fused multiply-adds and two loads a cycle, a latency of four cycles), as in
Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008), section 6.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from evaluators.compile.choices import Choice

FLOAT_BITS = 32
_FMA_PER_CYCLE = 2
_LOADS_PER_CYCLE = 2
_FMA_LATENCY = 4
_STEP_OVERHEAD = 1.0
_SPILL_COST = 3.0
MOST_OPTIONS = 24
"""Tiles offered to a measured search: the model is never so wrong that a later one wins."""


@dataclass(frozen=True)
class Tile:
    """``rows`` x ``columns`` output pixels times ``vectors`` vectors of ``lanes`` output channels."""

    rows: int
    columns: int
    vectors: int
    lanes: int

    @property
    def channels(self) -> int:
        """Output channels of one tile."""
        return self.vectors * self.lanes

    @property
    def choice(self) -> Choice:
        """The tile as a choice among ways to build a kernel."""
        return dataclasses.asdict(self)


def divisors(number: int, limit: int) -> list[int]:
    """The divisors of ``number`` up to ``limit``, rising.

    >>> divisors(12, 5)
    [1, 2, 3, 4]
    """
    return [candidate for candidate in range(1, min(number, limit) + 1) if number % candidate == 0]


def divisor_near(number: int, lanes: int) -> int:
    """The divisor of ``number`` that fills vectors of ``lanes`` best: up to four of them.

    >>> divisor_near(58, 8), divisor_near(24, 8), divisor_near(7, 8)
    (29, 24, 7)
    """
    return max(divisors(number, 4 * lanes), key=lambda width: (width / padded(width, lanes), width))


def lanes_for(channels: int, vector_bits: int) -> int:
    """The vector width in floats that wastes least: the machine's own, narrower only for few channels."""
    lanes = vector_bits // FLOAT_BITS
    while lanes > 4 and channels <= lanes // 2:
        lanes //= 2
    return lanes


def padded(channels: int, multiple: int) -> int:
    """``channels`` rounded up to a multiple."""
    return -(-channels // multiple) * multiple


def tile_options(
    rows: int, columns: int, channels: int, vector_bits: int, registers: int, most: int = MOST_OPTIONS
) -> list[Tile]:
    """Tiles for an output of ``rows`` x ``columns`` x ``channels``, those of the fewest modelled cycles first."""
    lanes = lanes_for(channels, vector_bits)
    candidates = _candidates(rows, columns, channels, lanes, registers)
    return sorted(candidates, key=lambda tile: (_cycles(tile, channels, registers), tile.vectors, -tile.columns))[
        :most
    ]


def _candidates(rows: int, columns: int, channels: int, lanes: int, registers: int) -> Iterator[Tile]:
    for vectors in range(1, min(registers // 2, -(-channels // lanes)) + 1):
        for width in divisors(columns, registers):
            for height in divisors(rows, max(1, registers // width)):
                yield Tile(height, width, vectors, lanes)


def _cycles(tile: Tile, channels: int, registers: int) -> float:
    """Modelled cycles for each output pixel and input channel."""
    pixels = tile.rows * tile.columns
    accumulators = pixels * tile.vectors
    needed = accumulators + tile.vectors + 1
    step = max(
        accumulators / _FMA_PER_CYCLE,
        (pixels + tile.vectors) / _LOADS_PER_CYCLE,
        _FMA_LATENCY,
    )
    step += _STEP_OVERHEAD + _SPILL_COST * max(0, needed - registers)
    steps = padded(channels, tile.channels) / tile.channels
    return step * steps / pixels
