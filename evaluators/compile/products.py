"""How a product of matrices is cut into tiles and in which order they are computed: a model of its cycles.

The result is a grid of register tiles, ``rows`` x (``vectors`` x ``lanes``) sums each. A step of the innermost
loop adds the outer product of ``rows`` broadcast values of the left matrix and ``vectors`` vectors of the right
one to them, as in Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008). A *panel* is
the part of the right matrix that one tile reads (inner x vectors x lanes, contiguous when it is packed: "B
micro-panel" in Van Zee and van de Geijn, "BLIS" (2015)). ``block`` tiles of rows go through all panels before the
next block of rows is begun, so a panel is re-used ``block`` times from the innermost cache that holds it, and the
rows of a block once for each panel. With block 1 rows are outermost, with all tiles in one block panels are.

The inner dimension is never cut: on the cores measured the second cache feeds the panels of any length as fast as
they are multiplied, and partial sums cost more than they save.

Sizes that do not divide are covered by a last tile that overlaps the one before it, so no loop has a condition.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from evaluators.compile.choices import Choice
from evaluators.compile.tiles import FLOAT_BITS
from hw_profiles.profile import Profile

FLOAT_BYTES = 4
_PIPES = 2
"""Multiply-adds a cycle."""
_LOADS = 1.8
"""Loads a cycle that are reached."""
_ROWS_PER_VECTOR = 8
"""With more, LLVM keeps too many broadcast values at once and spills."""
_ISSUE = 5
"""Instructions a cycle."""
_LATENCY = 4
"""Cycles of a multiply-add."""
_TILE_CYCLES = 16
"""Around a tile's loop: addresses, filling and emptying the pipes."""
_BYTES_PER_CYCLE = (64.0, 16.0, 6.0, 3.0)
"""From the first, second and third cache, and from memory."""
_HIDDEN = 0.85
"""The share of the time of loads that passes behind the arithmetic."""
_CACHE_SHARE = 0.75
"""Of a cache, what one kernel's operands can count on."""


@dataclass(frozen=True)
class Product:
    """``batch`` products of (``rows``, ``inner``) with (``inner``, ``columns``) ones (``narrow``: of bytes)."""

    rows: int
    inner: int
    columns: int
    batch: int = 1
    narrow: bool = False

    @property
    def multiply_adds(self) -> int:
        """Of the whole product."""
        return self.batch * self.rows * self.inner * self.columns


@dataclass(frozen=True)
class ProductTile:
    """``rows`` x ``vectors`` of ``lanes`` sums at once, each split over ``chains`` accumulators.

    ``unroll`` steps stand in the loop's body, ``block`` tiles of rows go through all panels together.
    """

    rows: int
    vectors: int
    lanes: int
    chains: int = 1
    unroll: int = 1
    block: int = 1

    @property
    def columns(self) -> int:
        """Columns of one tile."""
        return self.vectors * self.lanes

    @property
    def choice(self) -> Choice:
        """The tile as a choice among ways to build a kernel."""
        return dataclasses.asdict(self)


def product_options(product: Product, profile: Profile, limit: int = 24, panel: int | None = None) -> list[Choice]:
    """The tiles worth trying, the one with the fewest modelled cycles first; of those that read panels of so many
    columns, if given."""
    tiles = (
        tile for tile in _register_tiles(product, profile) if panel is None or _reads(product, tile.columns, panel)
    )
    shapes = sorted(tiles, key=lambda tile: _cycles(product, tile, profile))
    blocked = [
        dataclasses.replace(tile, block=block) for tile in shapes[: limit // 2] for block in _blocks(product, tile)
    ]
    blocked.sort(key=lambda tile: (_cycles(product, tile, profile), tile.vectors, tile.block))
    return [tile.choice for tile in blocked[:limit]]


def shared_columns(products: Sequence[Product], profile: Profile) -> int:
    """Columns of the panels in which products by the same matrix read it.

    Of those that all can read, the ones that slow them least together, each relative to its own best. The first
    counts twice, that of fewest rows: a text has one prompt and many tokens.
    """
    fewest = [_cycles_by_columns(product, profile) for product in products]
    weighed = [fewest[0], *fewest]
    common = set.intersection(*map(set, fewest))
    return min(sorted(common), key=lambda columns: sum(each[columns] / min(each.values()) for each in weighed))


def _reads(product: Product, columns: int, panel: int) -> bool:
    """Whether a tile of so many columns reads panels of so many: of its own width, or several narrower ones.

    The latter with one row, where weights are read once, and in bytes: streams of float32 beside one another are
    slower than one (5 % of a token on AVX-512), while bytes are not read as fast as they could be anyway.
    """
    several = product.rows == 1 and product.narrow and columns % panel == 0 and product.columns % panel == 0
    return columns == panel or several


def _cycles_by_columns(product: Product, profile: Profile) -> dict[int, float]:
    """Modelled cycles of the best tile that reads panels of each number of columns."""
    best: dict[int, float] = {}
    for tile in _register_tiles(product, profile):
        for block in _blocks(product, tile):
            cycles = _cycles(product, dataclasses.replace(tile, block=block), profile)
            best[tile.columns] = min(cycles, best.get(tile.columns, cycles))
    return {
        panel: min(cycles for columns, cycles in best.items() if _reads(product, columns, panel)) for panel in best
    }


def _register_tiles(product: Product, profile: Profile) -> Iterator[ProductTile]:
    """Every tile whose sums, vectors and one broadcast value fit the registers."""
    lanes = profile.vector_bits // FLOAT_BITS
    while lanes > product.columns:
        lanes //= 2
    for vectors in range(1, min(profile.vector_registers - 2, product.columns // lanes) + 1):
        for rows in range(1, min(_ROWS_PER_VECTOR * vectors, product.rows) + 1):
            for chains in (1, 2, 4, 8):
                sums = rows * vectors * chains
                held = vectors if rows > 1 else 1
                if sums + held + 1 > profile.vector_registers or chains > product.inner:
                    break
                unroll = max(chains, min(4, product.inner, -(-8 // (rows * vectors))))
                yield ProductTile(rows, vectors, lanes, chains, unroll - unroll % chains)
                if sums >= _PIPES * _LATENCY:
                    break


def _blocks(product: Product, tile: ProductTile) -> list[int]:
    """Numbers of row tiles in a block: one, all, and evenly between."""
    tiles = -(-product.rows // tile.rows)
    found = {1, tiles}
    for wanted in (4, 16, 64):
        blocks = -(-tiles // wanted)
        found.add(-(-tiles // blocks))
    return sorted(found)


def _cycles(product: Product, tile: ProductTile, profile: Profile) -> float:
    """Modelled cycles of the whole product on the profile's threads."""
    row_tiles, panels = -(-product.rows // tile.rows), -(-product.columns // tile.columns)
    blocks = -(-row_tiles // tile.block)
    arithmetic = product.batch * row_tiles * panels * _tile_cycles(product, tile, profile)
    loads = product.batch * _load_cycles(product, tile, profile)
    pieces = product.batch * blocks * panels
    share = -(-pieces // profile.threads) / pieces
    return share * (max(arithmetic, loads) + (1 - _HIDDEN) * min(arithmetic, loads))


def _tile_cycles(product: Product, tile: ProductTile, profile: Profile) -> float:
    sums = tile.rows * tile.vectors
    multiply_adds = sums * (1 if profile.fma else 2)
    instructions = multiply_adds + tile.rows + tile.vectors * (tile.rows > 1) + 2 / tile.unroll
    step = max(
        multiply_adds / _PIPES,
        (tile.rows + tile.vectors) / _LOADS,
        _LATENCY / tile.chains,
        instructions / _ISSUE,
    )
    return product.inner * step + _TILE_CYCLES + 2 * sums * tile.chains


def _load_cycles(product: Product, tile: ProductTile, profile: Profile) -> float:
    """Cycles that moving the operands between the caches takes."""
    row_bytes = FLOAT_BYTES * product.inner
    row_tiles, panels = -(-product.rows // tile.rows), -(-product.columns // tile.columns)
    blocks = -(-row_tiles // tile.block)
    panel, rows = row_bytes * tile.columns, row_bytes * tile.rows
    whole, block = panel * panels, rows * min(tile.block, row_tiles)
    first = blocks * whole / _speed(whole + block, profile)
    again = blocks * (min(tile.block, row_tiles) - 1) * whole / _speed(panel + rows, profile)
    left = row_bytes * product.rows * panels / _speed(block + panel, profile)
    return first + again + left


def _speed(held: int, profile: Profile) -> float:
    """Bytes a cycle from the innermost cache that holds so many bytes."""
    caches = (profile.l1d_bytes, profile.l2_bytes, profile.l3_bytes)
    for size, speed in zip(caches, _BYTES_PER_CYCLE, strict=False):
        if held <= _CACHE_SHARE * size:
            return speed
    return _BYTES_PER_CYCLE[-1]
