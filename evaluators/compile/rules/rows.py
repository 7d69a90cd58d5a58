"""Norms, softmax and reductions along the last axis: all stages of a row while it is in the first cache.

Reductions have several vectors of accumulators, so that an addition need not wait for the one before; values that
are costly (an exponential) and needed again are kept in a buffer of the row's length.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tvm import tirx
from tvm.tirx import AllocBuffer, Bind, BufferLoad, BufferStore, ForKind, PrimFunc, Stmt

from evaluators.compile.kernels.emit import index, load, loop, sequence, vector
from evaluators.compile.kernels.register_tile import fold, widths_of
from evaluators.compile.rules.kernel import worth_threads
from evaluators.compile.rules.row_stages import RowKernel, RowStage, RowValues, open_rows
from evaluators.compile.rules.stages import Expr
from evaluators.compile.rules.views import Axes, Views
from evaluators.compile.rules.written import with_body
from evaluators.compile.tiles import FLOAT_BITS
from hw_profiles.profile import Profile

CHAINS = 4
"""Vectors of accumulators: as many additions as are under way at once."""
_LIMITS = {tirx.Add: 0.0, tirx.Max: -3.4028234663852886e38, tirx.Min: 3.4028234663852886e38}


def apply(function: PrimFunc, profile: Profile) -> PrimFunc | None:
    """The loops of a kernel that reduces rows; None for any other kernel."""
    kernel = open_rows(function)
    if kernel is None:
        return None
    lanes = profile.vector_bits // FLOAT_BITS
    views = Views()
    threaded = worth_threads(profile, kernel.operations * kernel.rows * kernel.length / lanes)
    kind = ForKind.PARALLEL if threaded else ForKind.SERIAL
    rows = loop(kernel.rows, lambda row: _row(kernel, row, lanes, views), "row", kind)
    return with_body(function, sequence(*views.declarations(), rows))


def _row(kernel: RowKernel, row: Expr, lanes: int, views: Views) -> Stmt:
    """All stages of one row; a stage that is written down is computed along with the reduction behind it."""
    values = RowValues(kernel, row, views)
    statements: list[Stmt] = []
    waiting: list[RowStage] = []
    for each in kernel.stages:
        if each.folded:
            statements += _folded(values, each, waiting, lanes)
            waiting = []
            if each is kernel.stages[-1]:
                total, place = values.known[each.stage.buffer], [row]
                statements.append(Axes((each.rows,)).store(each.stage.buffer, total, place, views))
        elif each is kernel.stages[-1]:
            statements.append(_stored(values, each, waiting, lanes))
        elif not each.along:
            variable = tirx.Var(each.stage.name, "float32")
            statements.append(Bind(variable, values.of_row(each)))
            values.known[each.stage.buffer] = variable
        elif each.stage.buffer in kernel.written_down:
            own = tirx.decl_buffer((kernel.length,), "float32", each.stage.name)
            statements.append(AllocBuffer(own))
            values.written[each.stage.buffer] = own
            waiting.append(each)
    return sequence(*statements)


def _stored(values: RowValues, last: RowStage, waiting: Sequence[RowStage], lanes: int) -> Stmt:
    """The result of a row."""
    buffer, views = last.stage.buffer, values.views
    if not last.along:
        return Axes((last.rows,)).store(buffer, values.of_row(last), [values.row], views)

    def part(start: Expr, width: int, _: int) -> list[Stmt]:
        def element(lane: Expr) -> Stmt:
            value = values.of_element(last, last.stage.value, start + lane)
            return Axes((last.rows, last.along)).store(buffer, value, [values.row, start + lane], views)

        return [*_write_down(values, waiting, start, width), vector(width, element)]

    return _along(values.kernel.length, lanes, 1, part)


def _write_down(values: RowValues, waiting: Sequence[RowStage], start: Expr, width: int) -> list[Stmt]:
    def write(each: RowStage) -> Stmt:
        def element(lane: Expr) -> Stmt:
            value = values.of_element(each, each.stage.value, start + lane)
            return BufferStore(values.written[each.stage.buffer], value, [start + lane])

        return vector(width, element)

    return [write(each) for each in waiting]


def _folded(values: RowValues, each: RowStage, waiting: Sequence[RowStage], lanes: int) -> list[Stmt]:
    """A row reduced to one number, from then on known."""
    length, combine = values.kernel.length, type(each.stage.value)
    lanes = widths_of(min(length, lanes), lanes)[0]
    chains = max(1, min(CHAINS, length // lanes))
    sums = [tirx.decl_buffer((lanes,), "float32", f"{each.stage.name}_{chain}") for chain in range(chains)]
    start_value = tirx.FloatImm("float32", _LIMITS[combine])

    def part(start: Expr, width: int, chain: int) -> list[Stmt]:
        def element(lane: Expr) -> Stmt:
            term = values.of_element(each, each.term, start + lane)
            return BufferStore(sums[chain], combine(BufferLoad(sums[chain], [lane]), term), [lane])

        return [*_write_down(values, waiting, start, width), vector(width, element)]

    statements: list[Stmt] = [AllocBuffer(buffer) for buffer in sums]
    statements += [vector(lanes, _setting(buffer, start_value)) for buffer in sums]
    statements.append(_along(length, lanes, chains, part))
    total: Any = load(sums[0], (0,), lanes)
    for buffer in sums[1:]:
        total = combine(total, load(buffer, (0,), lanes))
    values.known[each.stage.buffer] = fold(total, lanes, combine, statements)
    return statements


def _setting(buffer: Any, value: Expr) -> Callable[[Expr], Stmt]:
    return lambda lane: BufferStore(buffer, value, [lane])


def _along(length: int, lanes: int, chains: int, part: Callable[[Expr, int, int], list[Stmt]]) -> Stmt:
    """``part(start, width, chain)`` for the vectors of a row, ``chains`` of them at a time, then for the rest."""
    step = lanes * chains
    whole = length // step

    def several(number: Expr) -> Stmt:
        return sequence(
            *(
                statement
                for chain in range(chains)
                for statement in part(number * step + chain * lanes, lanes, chain)
            )
        )

    statements: list[Stmt] = [loop(whole, several, "step")] if whole else []
    start = whole * step
    for width in widths_of(length - start, lanes):
        statements += part(index(start), width, 0)
        start += width
    return sequence(*statements)
