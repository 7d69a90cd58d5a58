"""The loops of a product of matrices, for every rule that can say where its factors are and where the result goes.

The form of the loops and the words are those of ``products.py``. The code is written here rather than made by
moves of a schedule: overlapping tiles, accumulators that stay in registers and a panel re-used by a block of rows
are a page of loops, and there is nothing to search for when they are written down.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import reduce
from itertools import islice

from tvm import tirx
from tvm.tirx import AllocBuffer, Bind, BufferLoad, BufferStore, ForKind, Stmt, Var

from evaluators.compile.kernels.emit import INDEX, index, loop, sequence, unrolled
from evaluators.compile.products import Product, ProductTile
from evaluators.compile.rules.kernel import worth_threads
from evaluators.compile.rules.stages import Expr, Sum, count_operations
from evaluators.compile.rules.sums import Sums, across
from evaluators.compile.rules.views import Axes, Views
from hw_profiles.profile import Profile

_LONG = 40
"""Nodes of an expression from which on it is not repeated for every row of a tile."""
_EVEN = 8
"""Pieces for each thread from which on they are even enough."""


@dataclass(frozen=True)
class Position:
    """Where a tile stands: its product, its panel, and the first row and column."""

    batch: Expr
    panel: Expr
    row: Expr
    column: Expr


@dataclass(frozen=True)
class Operands:
    """``left(at, row, k)`` and ``right(at, k, lane)`` are the factors, ``store(at, row, lane, sum)`` keeps a sum.

    ``row`` and ``lane`` (of the whole tile) count from the tile's position. ``heavy`` says that storing is long
    code, to be repeated by a loop, and ``narrow`` that what is stored takes half of a sum's bits or less.
    ``prepare`` comes before the tiles of a panel (its row does not count yet).
    """

    left: Callable[[Position, Expr, Expr], Expr]
    right: Callable[[Position, Expr, Expr], Expr]
    store: Callable[[Position, Expr, Expr, Expr], Stmt]
    heavy: bool
    prepare: Callable[[Position], list[Stmt]] | None = None
    dtype: str = field(default="float32", kw_only=True)
    narrow: bool = field(default=False, kw_only=True)

    def multiply_add(self, sums: Sums, tile: ProductTile, chain: int, at: Position, k: Expr) -> Stmt:
        """One step: the outer product of ``left`` and ``right`` at ``k`` added to the sums of a chain."""

        def product(row: Expr, vector: int, lane: Expr) -> Expr:
            return self.left(at, row, k) * self.right(at, k, lane + vector * tile.lanes)

        return sums.add(chain, product)


def storing(
    kernel: Sum, groups: Sequence[int], views: Views
) -> tuple[Callable[[Position, Expr, Expr, Expr], Stmt], bool]:
    """How the kernel stores a sum, with the work fused behind it, and whether that is long code.

    The axes of its output come in groups of so many: those of the batch (may be missing), of rows, and of columns.
    """
    last = kernel.last
    pairs = iter(zip(last.variables, last.extents, strict=True))
    axes = Axes(tuple(tuple(islice(pairs, count)) for count in groups))

    def store(at: Position, row: Expr, lane: Expr, total: Expr) -> Stmt:
        place = [at.batch, at.row + row, at.column + lane][-len(groups) :]
        value = total if last is kernel.main else axes.place(last.value, place, views, {kernel.main.buffer: total})
        return axes.store(last.buffer, value, place, views)

    return store, last is not kernel.main and count_operations(last.value) > _LONG


def product_loops(product: Product, tile: ProductTile, operands: Operands, profile: Profile) -> Stmt:
    """The whole product as a statement, over the profile's threads where that pays."""
    row_tiles, panels = -(-product.rows // tile.rows), -(-product.columns // tile.columns)
    block = min(tile.block, row_tiles)
    blocks = -(-row_tiles // block)
    extents = [product.batch, blocks, panels]
    threaded = _threaded(extents, profile) if worth_threads(profile, product.multiply_adds / tile.lanes) else 0

    def piece(at: Sequence[Expr]) -> Stmt:
        batch, first, panel = at
        column = _Start(panel, tile.columns, product.columns, "column")
        place = Position(batch, panel, index(0), column.variable)
        count = block if row_tiles % block == 0 else tirx.min(index(block), row_tiles - first * block)
        tiles = loop(count, lambda inner: _tile(product, tile, operands, place, first * block + inner), "tile")
        return sequence(column.bound, *(operands.prepare(place) if operands.prepare else ()), tiles)

    return _nest(extents, threaded, piece)


def _threaded(extents: Sequence[int], profile: Profile) -> int:
    """How many of the outer loops are one parallel loop: as few as give even pieces."""
    pieces = 1
    for count, extent in enumerate(extents, 1):
        pieces *= extent
        if pieces >= _EVEN * profile.threads or pieces % profile.threads == 0:
            return count
    return len(extents)


def _nest(extents: Sequence[int], threaded: int, body: Callable[[Sequence[Expr]], Stmt]) -> Stmt:
    """Loops around a body, the first ``threaded`` of them as one loop over the threads."""

    def serial(at: Sequence[Expr]) -> Stmt:
        if len(at) == len(extents):
            return body(at)
        return loop(extents[len(at)], lambda inner: serial([*at, inner]), "outer")

    if not threaded:
        return serial([])
    total = reduce(lambda left, right: left * right, extents[:threaded])

    def split(flat: Expr) -> Stmt:
        at: list[Expr] = []
        for extent in reversed(extents[1:threaded]):
            at.insert(0, flat % extent)
            flat = flat // extent
        return serial([flat, *at])

    return loop(total, split, "piece", ForKind.PARALLEL)


class _Start:
    """Where the tile of that number starts: the last one ends with the whole."""

    def __init__(self, number: Expr, size: int, whole: int, name: str) -> None:
        self.variable = Var(name, INDEX)
        covered = number * size
        self.bound = Bind(self.variable, covered if whole % size == 0 else tirx.min(covered, index(whole - size)))


def _tile(product: Product, tile: ProductTile, operands: Operands, place: Position, number: Expr) -> Stmt:
    """One register tile: zeros, all steps, the results stored."""
    row = _Start(number, tile.rows, product.rows, "row")
    at = dataclasses.replace(place, row=row.variable)
    sums = Sums(tile, "sum", operands.dtype)
    return sequence(
        row.bound,
        *sums.allocations(),
        sums.set(lambda row, v, lane: tirx.const(0, operands.dtype)),
        *_steps(product.inner, tile, sums, operands, at),
        *_stored(tile, sums, operands, at),
    )


def _steps(inner: int, tile: ProductTile, sums: Sums, operands: Operands, at: Position) -> list[Stmt]:
    """All steps along the inner dimension: ``tile.unroll`` at a time, then the rest."""

    def step(k: Expr, chain: int) -> Stmt:
        return operands.multiply_add(sums, tile, chain, at, k)

    def body(outer: Expr) -> Stmt:
        return sequence(*(step(outer * tile.unroll + k, k % tile.chains) for k in range(tile.unroll)))

    whole = inner // tile.unroll
    steps = [loop(whole, body, "k")] if whole else []
    return steps + [step(index(k), k % tile.chains) for k in range(whole * tile.unroll, inner)]


def _stored(tile: ProductTile, sums: Sums, operands: Operands, at: Position) -> list[Stmt]:
    """The results handed on, by way of memory when what follows is long code."""

    def store_row(total: Callable[[Expr, int, Expr], Expr]) -> Callable[[Expr], Stmt]:
        def store(row: Expr) -> Stmt:
            return across(
                tile, lambda v, lane: operands.store(at, row, lane + v * tile.lanes, total(row, v, lane))
            )

        return store

    if not operands.heavy or tile.rows == 1:
        return [unrolled(tile.rows, store_row(sums.total), "row")]
    result = tirx.decl_buffer((tile.rows, tile.columns), operands.dtype, "result")

    def keep_row(row: Expr) -> Stmt:
        def keep(v: int, lane: Expr) -> Stmt:
            return BufferStore(result, sums.total(row, v, lane), [row, lane + v * tile.lanes])

        return across(tile, keep)

    halves = operands.narrow and tile.vectors % 2 == 0
    wide = dataclasses.replace(tile, vectors=tile.vectors // 2, lanes=2 * tile.lanes) if halves else tile

    def store_kept(row: Expr) -> Stmt:
        def store(v: int, lane: Expr) -> Stmt:
            column = lane + v * wide.lanes
            return operands.store(at, row, column, BufferLoad(result, [row, column]))

        return across(wide, store)

    return [AllocBuffer(result), unrolled(tile.rows, keep_row, "row"), loop(tile.rows, store_kept, "row")]
