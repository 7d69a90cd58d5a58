"""Products with packed constant matrices."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from tvm.tirx import BufferLoad, PrimFunc, Stmt

from evaluators.compile.choices import read
from evaluators.compile.kernels import dense
from evaluators.compile.products import Product, ProductTile
from evaluators.compile.rules.product import Operands, Position, product_loops, storing
from evaluators.compile.rules.spread import with_spread
from evaluators.compile.rules.stages import Expr, loads_of, open_sum
from evaluators.compile.rules.sums import Sums
from evaluators.compile.rules.views import Axes, Views
from hw_profiles.profile import Profile


@dataclass(frozen=True)
class _Panels(Operands):
    """Factors of which the right one lies in panels of ``width`` columns, several in a tile."""

    width: int = field(kw_only=True)

    def multiply_add(self, sums: Sums, tile: ProductTile, chain: int, at: Position, k: Expr) -> Stmt:
        """See ``Operands``."""
        first = at.column // self.width

        def product(row: Expr, vector: int, lane: Expr) -> Expr:
            further, inside = divmod(vector * tile.lanes, self.width)
            panel = dataclasses.replace(at, panel=first + further)
            return self.left(at, row, k) * self.right(panel, k, lane + inside)

        return sums.add(chain, product)


def apply(function: PrimFunc, profile: Profile) -> PrimFunc | None:
    """The loops of a packed dense layer with whatever was fused behind it; None for any other kernel."""
    kernel = open_sum(function, dense.NAME)
    if kernel is None:
        return None
    left, right = kernel.factors
    (panels,) = (load.source for load in loads_of(right))
    main = kernel.main
    rows = tuple(zip(main.variables[:-1], main.extents[:-1], strict=True))
    inner = main.lengths[0]
    source = Axes((rows, ((main.reduced[0], inner),)))
    views = Views()

    def left_at(at: Position, row: Expr, k: Expr) -> Expr:
        return source.place(left, [at.row + row, k], views)

    def right_at(at: Position, k: Expr, lane: Expr) -> Expr:
        return dense.widened(lambda row: BufferLoad(panels, [at.panel, row, lane]), str(panels.dtype), k)

    product = Product(source.shape[0], inner, main.extents[-1])
    tile, width = ProductTile(**read(main.annotations)), int(panels.shape[-1])
    stored = storing(kernel, (len(rows), 1), views)
    alike = tile.columns == width
    operands = Operands(left_at, right_at, *stored) if alike else _Panels(left_at, right_at, *stored, width=width)
    loops = product_loops(product, tile, operands, profile)
    return function.with_body(with_spread(kernel, loops, views, profile))
