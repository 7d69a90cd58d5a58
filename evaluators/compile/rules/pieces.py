"""Tensors put side by side: loops of their own for each, so that no element asks to which it belongs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tvm import tirx
from tvm.ir import Call, Op
from tvm.tirx import BufferStore, ForKind, PrimFunc, Stmt
from tvm_ffi import structural_map

from evaluators.compile.kernels.emit import index, loop, sequence, vector
from evaluators.compile.rules.kernel import worth_threads
from evaluators.compile.rules.stages import Expr, Stage, inlined, read_stages, substitute
from evaluators.compile.rules.written import with_body
from evaluators.compile.tiles import FLOAT_BITS
from hw_profiles.profile import Profile

MOST_PIECES = 16
LOADS = 2
"""Vector operations for each vector of results."""

_COMPARISONS = (tirx.LT, tirx.LE, tirx.GT, tirx.GE)

Bounds = list[tuple[int, int]]
"""First index and the one behind the last, of each axis."""


def apply(function: PrimFunc, profile: Profile) -> PrimFunc | None:
    """An element-wise kernel whose conditions cut one axis of its output at fixed places; None for any other."""
    stages = read_stages(function)
    if not stages or any(stage.reduced for stage in stages):
        return None
    stage = inlined(stages)
    cuts = _cuts(stage)
    if cuts is None:
        return None
    axis, places = cuts
    edges = [0, *places, stage.extents[axis]]
    whole: Bounds = [(0, extent) for extent in stage.extents]
    pieces = [[*whole[:axis], (low, high), *whole[axis + 1 :]] for low, high in itertools.pairwise(edges)]
    lanes = profile.vector_bits // FLOAT_BITS
    shared = min(axis, len(whole) - 1)
    threaded = worth_threads(profile, LOADS * math.prod(stage.extents) / lanes)

    def inside(before: Sequence[Expr], spread: bool) -> Stmt:
        return sequence(
            *(
                _nest(piece[shared:-1], lambda at, piece=piece: _row(stage, piece, [*before, *at], lanes), spread)
                for piece in pieces
            )
        )

    alone = all(extent == 1 for extent in stage.extents[:shared])
    return with_body(function, _nest(whole[:shared], lambda at: inside(at, threaded and alone), threaded))


def _nest(bounds: Bounds, body: Any, spread: bool, at: tuple[Expr, ...] = ()) -> Stmt:
    """Loops over ranges of axes, the first that is one on all cores where ``spread``."""
    if not bounds:
        return body(list(at))
    (low, high), *rest = bounds
    kind = ForKind.PARALLEL if spread and high - low > 1 else ForKind.SERIAL
    later = spread and high - low == 1

    def step(number: Expr) -> Stmt:
        return _nest(rest, body, later, (*at, number + low))

    return loop(high - low, step, "i", kind)


def _row(stage: Stage, piece: Bounds, at: Sequence[Expr], most: int) -> Stmt:
    """The last axis by vectors, the last of them overlapping the one before."""
    low, high = piece[-1]
    columns = high - low
    lanes = min(most, columns)
    value = _within(stage, piece)

    def part(number: Expr) -> Stmt:
        start = number * lanes if columns % lanes == 0 else tirx.min(number * lanes, index(columns - lanes))

        def element(lane: Expr) -> Stmt:
            place = [*at, start + low + lane]
            known = dict(zip(stage.variables, place, strict=True))
            return BufferStore(stage.buffer, substitute(value, known), place)

        return vector(lanes, element)

    return loop(-(-columns // lanes), part, "vector")


@dataclass(frozen=True)
class _Cut:
    """A condition that the variable of ``axis`` is below ``place``, or that it is not."""

    axis: int
    place: int
    below: bool


def _cuts(stage: Stage) -> tuple[int, list[int]] | None:
    """The axis that all conditions compare with constants, and these in order."""
    found: list[_Cut | None] = []

    def note(condition: Expr) -> Expr:
        found.append(_cut(condition, stage))
        return condition

    structural_map(stage.value, (_COMPARISONS, note))
    cuts = [cut for cut in found if cut is not None]
    if len(cuts) != len(found) or len({cut.axis for cut in cuts}) != 1:
        return None
    axis = cuts[0].axis
    places = sorted({cut.place for cut in cuts if 0 < cut.place < stage.extents[axis]})
    return (axis, places) if 0 < len(places) < MOST_PIECES else None


def _cut(condition: Expr, stage: Stage) -> _Cut | None:
    """What a comparison of a variable with a constant asks."""
    strict = isinstance(condition, tirx.LT | tirx.GT)
    upward = isinstance(condition, tirx.LT | tirx.LE)
    for variable, place, below in ((condition.a, condition.b, upward), (condition.b, condition.a, not upward)):
        axis = next((at for at, mine in enumerate(stage.variables) if mine.same_as(variable)), None)
        if axis is not None and isinstance(place, tirx.IntImm):
            return _Cut(axis, int(place) + (below != strict), below)
    return None


def _within(stage: Stage, piece: Bounds) -> Expr:
    """The value in a piece, where all conditions are known."""

    def decide(call: Call) -> Expr:
        if not isinstance(call.op, Op) or call.op.name != "prim.if_then_else":
            return call
        condition, then, otherwise = call.args
        cut = _cut(condition, stage) if isinstance(condition, _COMPARISONS) else None
        if cut is None:
            return call
        is_below = piece[cut.axis][1] <= cut.place
        return then if is_below == cut.below else otherwise

    return structural_map(stage.value, (Call, decide))
