"""Products with packed constant matrices."""

from __future__ import annotations

from tvm.tirx import BufferLoad, PrimFunc

from evaluators.compile.choices import read
from evaluators.compile.kernels import dense
from evaluators.compile.products import Product, ProductTile
from evaluators.compile.rules.product import Operands, Position, product_loops, storing
from evaluators.compile.rules.spread import with_spread
from evaluators.compile.rules.stages import Expr, loads_of, open_sum
from evaluators.compile.rules.views import Axes, Views
from hw_profiles.profile import Profile


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
    operands = Operands(left_at, right_at, *storing(kernel, (len(rows), 1), views))
    loops = product_loops(product, ProductTile(**read(main.annotations)), operands, profile)
    return function.with_body(with_spread(kernel, loops, views, profile))
