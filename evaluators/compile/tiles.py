"""The register tile of a convolution, and sizes that fill vectors."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from evaluators.compile.choices import Choice

FLOAT_BITS = 32


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
