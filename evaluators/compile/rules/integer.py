"""Products of quantised activations: the loops of a product with the profile's dot-product instruction inside."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce
from typing import Any

import tvm
from tvm import tirx
from tvm.tirx import Broadcast, BufferLoad, DeclBuffer, PrimFunc, Ramp, Stmt

from evaluators.compile.choices import read
from evaluators.compile.integers import GROUP_BITS, Dot, dot_for
from evaluators.compile.kernels import integer
from evaluators.compile.kernels.emit import index, sequence
from evaluators.compile.products import Product, ProductTile
from evaluators.compile.rules.product import Operands, Position, product_loops, storing
from evaluators.compile.rules.stages import Expr, open_sum
from evaluators.compile.rules.sums import Sums
from evaluators.compile.rules.views import Views
from hw_profiles.profile import Profile


def apply(function: PrimFunc, profile: Profile) -> PrimFunc | None:
    """The loops of an integer product with whatever was fused behind it; None for any other kernel."""
    kernel = open_sum(function, integer.NAME)
    if kernel is None:
        return None
    left, right = (factor.value.source for factor in kernel.factors)
    dot = dot_for(profile, str(left.dtype))
    if dot is None:
        return None
    *outer, channels = kernel.main.extents
    rows = math.prod(outer)
    groups = math.prod(int(extent) for extent in left.shape) // rows // dot.depth
    dtype = f"int{GROUP_BITS}" if dot.depth > 1 else dot.dtype
    view = tirx.decl_buffer((rows, groups), dtype, f"{left.name}_groups")
    choice = dict(read(kernel.main.annotations))
    joined = choice.pop("joined")
    tile = ProductTile(**choice)
    views = Views()
    product = Product(rows, groups // joined, channels)
    operands = _Operands(
        lambda at, row, k: BufferLoad(view, [at.row + row, k]),
        lambda at, k, lane: BufferLoad(right, [at.panel, k, lane]),
        *storing(kernel, (len(outer), 1), views),
        dtype="int32",
        narrow=int(tvm.DataType(str(kernel.last.buffer.dtype)).bits) <= GROUP_BITS // 2,
        dot=dot,
        joined=joined,
        panels=right,
    )
    loops = product_loops(product, tile, operands, profile)
    return function.with_body(sequence(DeclBuffer(view, data=left.data), *views.declarations(), loops))


@dataclass(frozen=True, kw_only=True)
class _Operands(Operands):
    """The factors in groups of ``dot.depth``, ``joined`` of them a step."""

    dot: Dot
    joined: int
    panels: Any

    def multiply_add(self, sums: Sums, tile: ProductTile, chain: int, at: Position, k: Expr) -> Stmt:
        """Every sum takes the products of one group of the left values with a vector of groups of weights."""
        return sums.add_vectors(chain, lambda row, v, total: self._added(total, at, row, k, v))

    def _added(self, total: Expr, at: Position, row: Expr, k: Expr, number: int) -> Expr:
        dot = self.dot
        count = dot.lanes * dot.depth
        if dot.pairs is not None:
            products = [self._pairs(at, row, k * self.joined + step, number) for step in range(self.joined)]
            pairs = reduce(lambda left, right: left + right, products)
            return total + _call(dot, pairs, Broadcast(tirx.const(1, "int16"), count // 2))
        group, weights = self._operands(at, row, k, number)
        if dot.depth == 1:
            return total + group.astype(f"int32x{count}") * weights.astype(f"int32x{count}")
        if dot.widened:
            values = f"{dot.dtype}x{count}"
            return total + _call(dot, tirx.reinterpret(values, group), weights.astype(values))
        return _call(dot, total, tirx.reinterpret(f"int8x{count}", group), weights)

    def _pairs(self, at: Position, row: Expr, k: Expr, number: int) -> Expr:
        """The products of one group, by twos, in 16 bits."""
        count = self.dot.lanes * self.dot.depth
        group, weights = self._operands(at, row, k, number)
        bytes_ = tirx.reinterpret(f"int8x{count}", group)
        return tirx.call_llvm_pure_intrin(f"int16x{count // 2}", self.dot.pairs, bytes_, weights)

    def _operands(self, at: Position, row: Expr, k: Expr, number: int) -> tuple[Expr, Expr]:
        """A group of the left values for every lane, and the weights of one vector."""
        count = self.dot.lanes * self.dot.depth
        weights = BufferLoad(self.panels, [at.panel, k, Ramp(index(number * count), index(1), count)])
        return Broadcast(self.left(at, row, k), self.dot.lanes), weights


def _call(dot: Dot, *operands: Expr) -> Expr:
    return tirx.call_llvm_pure_intrin(f"int32x{dot.lanes}", dot.intrinsic, *operands)
