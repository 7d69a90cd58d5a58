"""Products of two activations: each panel of the right one is packed where several tiles of rows read it."""

from __future__ import annotations

from tvm import tirx
from tvm.tirx import AllocBuffer, BufferLoad, BufferStore, PrimFunc, Stmt

from evaluators.compile.choices import read
from evaluators.compile.kernels import matmul
from evaluators.compile.kernels.emit import loop
from evaluators.compile.products import Product, ProductTile
from evaluators.compile.rules.product import Operands, Position, product_loops, storing
from evaluators.compile.rules.spread import with_spread
from evaluators.compile.rules.stages import Expr, open_sum
from evaluators.compile.rules.sums import across
from evaluators.compile.rules.views import Axes, Views
from hw_profiles.profile import Profile

_READERS = 3
"""Tiles of rows from which on a packed panel pays."""


def apply(function: PrimFunc, profile: Profile) -> PrimFunc | None:
    """The loops of a product of activations with whatever was fused behind it; None for any other kernel."""
    kernel = open_sum(function, matmul.NAME)
    if kernel is None:
        return None
    left, right = kernel.factors
    main, tile = kernel.main, ProductTile(**read(kernel.main.annotations))
    pairs = tuple(zip(main.variables, main.extents, strict=True))
    batch, row, column = pairs[:-2], pairs[-2:-1], pairs[-1:]
    inner = ((main.reduced[0], int(left.source.shape[-1])),)
    left_axes, right_axes = Axes((batch, row, inner)), Axes((batch, inner, column))
    views = Views()

    def left_at(at: Position, row: Expr, k: Expr) -> Expr:
        return left_axes.place(left, [at.batch, at.row + row, k], views)

    def right_at(at: Position, k: Expr, lane: Expr) -> Expr:
        return right_axes.place(right, [at.batch, k, at.column + lane], views)

    packed = tirx.decl_buffer((inner[0][1], tile.columns), "float32", "panel")

    def pack(at: Position) -> list[Stmt]:
        def copy(k: Expr) -> Stmt:
            return across(
                tile,
                lambda v, lane: BufferStore(
                    packed, right_at(at, k, lane + v * tile.lanes), [k, lane + v * tile.lanes]
                ),
            )

        return [AllocBuffer(packed), loop(inner[0][1], copy, "k")]

    def packed_at(at: Position, k: Expr, lane: Expr) -> Expr:
        return BufferLoad(packed, [k, lane])

    store, heavy = storing(kernel, (len(batch), 1, 1), views)
    many = min(tile.block, -(-row[0][1] // tile.rows)) >= _READERS
    operands = Operands(left_at, packed_at if many else right_at, store, heavy, pack if many else None)
    product = Product(row[0][1], inner[0][1], column[0][1], left_axes.shape[0])
    loops = product_loops(product, tile, operands, profile)
    return function.with_body(with_spread(kernel, loops, views, profile))
