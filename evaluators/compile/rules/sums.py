"""The accumulators of a register tile."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

from tvm import tirx
from tvm.tirx import AllocBuffer, BufferLoad, BufferStore, Ramp, Stmt

from evaluators.compile.kernels.emit import index, sequence, unrolled, vector
from evaluators.compile.products import ProductTile
from evaluators.compile.rules.stages import Expr

Value = Callable[[Expr, int, Expr], Expr]
"""Of a row, a vector and a lane of the tile."""


def across(tile: ProductTile, body: Callable[[int, Expr], Stmt]) -> Stmt:
    """A statement for each vector of a row, in all lanes at once."""

    def one(number: int) -> Stmt:
        return vector(tile.lanes, lambda lane: body(number, lane))

    return sequence(*(one(number) for number in range(tile.vectors)))


class Sums:
    """A buffer for each vector and chain: TVM keeps up to a kilobyte on the stack, and LLVM that in registers."""

    def __init__(self, tile: ProductTile, name: str, dtype: str) -> None:
        self._tile = tile
        self._buffers = [
            [tirx.decl_buffer((tile.rows, tile.lanes), dtype, f"{name}_{v}_{c}") for c in range(tile.chains)]
            for v in range(tile.vectors)
        ]

    def allocations(self) -> list[Stmt]:
        """Their declarations."""
        return [AllocBuffer(buffer) for chains in self._buffers for buffer in chains]

    def set(self, value: Value) -> Stmt:
        """Set the sums of all chains."""
        return sequence(*(self._store(chain, value) for chain in range(self._tile.chains)))

    def add(self, chain: int, value: Value) -> Stmt:
        """Add to the sums of one chain."""

        def added(row: Expr, number: int, lane: Expr) -> Expr:
            return BufferLoad(self._buffers[number][chain], [row, lane]) + value(row, number, lane)

        return self._store(chain, added)

    def add_vectors(self, chain: int, value: Callable[[Expr, int, Expr], Expr]) -> Stmt:
        """Set each vector of a chain's sums to ``value(row, vector, sums)``, all lanes in one expression."""
        lanes = Ramp(index(0), index(1), self._tile.lanes)

        def store_row(row: Expr) -> Stmt:
            stores = []
            for number in range(self._tile.vectors):
                buffer, place = self._buffers[number][chain], [row, lanes]
                stores.append(BufferStore(buffer, value(row, number, BufferLoad(buffer, place)), place))
            return sequence(*stores)

        return unrolled(self._tile.rows, store_row, "row")

    def total(self, row: Expr, number: int, lane: Expr) -> Expr:
        """The sum over the chains."""
        chains = [BufferLoad(buffer, [row, lane]) for buffer in self._buffers[number]]
        return reduce(lambda left, right: left + right, chains)

    def _store(self, chain: int, value: Value) -> Stmt:
        def store_row(row: Expr) -> Stmt:
            def store(number: int, lane: Expr) -> Stmt:
                return BufferStore(self._buffers[number][chain], value(row, number, lane), [row, lane])

            return across(self._tile, store)

        return unrolled(self._tile.rows, store_row, "row")
