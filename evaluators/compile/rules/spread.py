"""Element-wise work on more elements than the kernel before it has: a gate on an image, a bias on a batch."""

from __future__ import annotations

import math

from tvm import tirx
from tvm.tirx import AllocBuffer, ForKind, Stmt

from evaluators.compile.kernels.emit import index, loop, sequence, vector
from evaluators.compile.rules.kernel import worth_threads
from evaluators.compile.rules.stages import Expr, Stage, Sum
from evaluators.compile.rules.views import Axes, Views
from evaluators.compile.tiles import FLOAT_BITS
from hw_profiles.profile import Profile

_LOADS = 2
"""Vector operations for each vector of results."""


def with_spread(kernel: Sum, loops: Stmt, views: Views, profile: Profile) -> Stmt:
    """The loops that store ``kernel.last``, and those of ``kernel.spread`` where there is one."""
    if kernel.spread is None:
        return sequence(*views.declarations(), loops)
    behind = spread_loops(kernel.spread, views, profile)
    return sequence(AllocBuffer(kernel.last.buffer), *views.declarations(), loops, behind)


def spread_loops(stage: Stage, views: Views, profile: Profile) -> Stmt:
    """An element-wise stage: vectors along its last axis, the last of them overlapping the one before."""
    pairs = tuple(zip(stage.variables, stage.extents, strict=True))
    axes = Axes((pairs[:-1], pairs[-1:]))
    columns = stage.extents[-1]
    lanes = min(columns, profile.vector_bits // FLOAT_BITS)

    def row(at: Expr) -> Stmt:
        def part(number: Expr) -> Stmt:
            start = number * lanes if columns % lanes == 0 else tirx.min(number * lanes, index(columns - lanes))

            def element(lane: Expr) -> Stmt:
                place = [at, start + lane]
                return axes.store(stage.buffer, axes.place(stage.value, place, views), place, views)

            return vector(lanes, element)

        return loop(-(-columns // lanes), part, "vector")

    threaded = worth_threads(profile, _LOADS * math.prod(stage.extents) / lanes)
    return loop(axes.shape[0], row, "row", ForKind.PARALLEL if threaded else ForKind.SERIAL)
