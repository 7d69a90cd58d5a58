"""The register tile of a product that is written out, and sums over the lanes of a vector."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx import Stmt

from evaluators.compile.kernels.emit import (
    Index,
    bind,
    buffer,
    constant,
    load,
    loop,
    sequence,
    store,
    vector_type,
    whole,
)

Left = Callable[[int, Index], Expr]
"""A number of a row at a step of the sum."""
Right = Callable[[int, Index], Expr]
"""The vector with that number at a step of the sum."""


def product_tile(
    rows: int,
    widths: Sequence[int],
    steps: Index,
    left: Left,
    right: Right,
    finish: Callable[[int, int, Expr], Stmt],
) -> Stmt:
    """``rows`` x vectors of ``widths`` sums of products in registers; ``finish(row, vector, sum)`` stores each."""
    starts = list(itertools.accumulate(widths, initial=0))
    accumulators = buffer("accumulators", rows, starts[-1])
    places = [(row, vector) for row in range(rows) for vector in range(len(widths))]

    def held(row: int, vector: int) -> Expr:
        return load(accumulators, (row, starts[vector]), widths[vector])

    def keep(row: int, vector: int, value: Expr) -> Stmt:
        return store(accumulators, value, (row, starts[vector]), widths[vector])

    def step(k: Index) -> Stmt:
        statements: list[Stmt] = []
        vectors = [bind(right(vector, k), width, statements) for vector, width in enumerate(widths)]
        for row in range(rows):
            number = bind(left(row, k), 1, statements)
            for vector, width in enumerate(widths):
                factor = tirx.Broadcast(number, width) if width > 1 else number
                statements.append(keep(row, vector, factor * vectors[vector] + held(row, vector)))
        return sequence(*statements)

    return sequence(
        tirx.AllocBuffer(accumulators),
        *(keep(row, vector, constant(0, widths[vector])) for row, vector in places),
        loop(steps, step, name="k"),
        *(finish(row, vector, held(row, vector)) for row, vector in places),
    )


def fold(value: Expr, lanes: int, combine: Callable[[Expr, Expr], Expr], statements: list[Stmt]) -> Expr:
    """The lanes (a power of two) of a vector combined into one number, by halves."""
    value = bind(value, lanes, statements)
    while lanes > 2:
        lanes //= 2
        halves = (half(vector_type(lanes), value) for half in (tirx.vectorlow, tirx.vectorhigh))
        value = bind(combine(*halves), lanes, statements)
    if lanes == 1:
        return value
    return bind(combine(*(tirx.Shuffle([value], [whole(lane)]) for lane in range(2))), 1, statements)


def widths_of(count: int, lanes: int) -> list[int]:
    """Vectors that cover ``count`` floats exactly: whole ones, then halves.

    >>> widths_of(23, 8)
    [8, 8, 4, 2, 1]
    """
    widths = []
    while count:
        while lanes > count:
            lanes //= 2
        widths.append(lanes)
        count -= lanes
    return widths
