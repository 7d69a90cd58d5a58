"""The two products of attention and how their right sides are laid out."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx import ForKind, Stmt

from evaluators.compile.kernels.attention_sizes import Attention, Job, reach
from evaluators.compile.kernels.emit import Index, constant, load, loop, sequence, store, whole
from evaluators.compile.kernels.register_tile import product_tile, widths_of


def pack_keys(job: Job, key: Any) -> Stmt:
    """Tiles of (channel, key), zeros behind the last key."""
    of, lanes = job.of, job.of.lanes

    def tile(at: Index, vectors: int) -> Stmt:
        width = vectors * lanes
        inside = min(width, of.keys - of.keys // of.tile * of.tile) if vectors < of.choice["vectors"] else width

        def channel(d: Index) -> Stmt:
            place = at * (of.tile * of.channels) + d * width
            zeros = store(job.keys, constant(0, lanes), (place + (width - lanes),), lanes)

            def lane(start: int) -> Any:
                return lambda t: store(
                    job.keys,
                    load(key, (job.image, at * of.tile + start + t, job.head, d), 1),
                    (place + start + t,),
                    1,
                )

            starts = range(0, inside, lanes)
            copies = [loop(min(lanes, inside - t), lane(t), "t", ForKind.VECTORIZED) for t in starts]
            return sequence(*([zeros] if inside < width else []), *copies)

        return loop(of.channels, channel, name="d")

    return _over_key_tiles(of, whole(of.keys // of.tile), tile)


def _over_key_tiles(of: Attention, count: Index, tile: Callable[[Index, int], Stmt]) -> Stmt:
    """``tile(number, vectors)`` over whole tiles of keys, then over a narrower one for the rest."""
    full = of.keys // of.tile
    rest = -(-(of.keys - full * of.tile) // of.lanes)
    parts = [loop(count, lambda at: tile(at, of.choice["vectors"]), name="tile")] if full else []
    if rest:
        parts.append(tile(whole(full), rest))
    return sequence(*parts)


def pack_values(job: Job, value: Any) -> Stmt:
    """Tiles of (key, channel)."""
    of = job.of

    def tile(first: Index, widths: Sequence[int]) -> Stmt:
        total = sum(widths)

        def token(t: Index) -> Stmt:
            starts = itertools.accumulate(widths[:-1], initial=0)
            return sequence(
                *(
                    store(
                        job.values,
                        load(value, (job.image, t, job.head, first + c), width),
                        (first * of.keys + t * total + c,),
                        width,
                    )
                    for c, width in zip(starts, widths, strict=True)
                )
            )

        return loop(of.keys, token, name="t")

    return _over_value_tiles(of, tile)


def _over_value_tiles(of: Attention, tile: Callable[[Index, Sequence[int]], Stmt]) -> Stmt:
    """``tile(first channel, vectors' widths)`` over whole tiles of channels, then over the rest."""
    width = of.choice["mix"] * of.lanes
    full = of.values // width
    parts = [loop(full, lambda at: tile(at * width, [of.lanes] * of.choice["mix"]), name="tile")] if full else []
    if of.values % width:
        parts.append(tile(whole(full * width), widths_of(of.values % width, of.lanes)))
    return sequence(*parts)


def scores(job: Job, start: Index, query: Any) -> Stmt:
    """Queries times keys, with nothing behind the last key."""
    of, rows = job.of, job.of.choice["rows"]

    def tile(at: Index, vectors: int) -> Stmt:
        width = vectors * of.lanes
        place = at * (of.tile * of.channels)

        def group(first: Index) -> Stmt:
            return product_tile(
                rows,
                [of.lanes] * vectors,
                of.channels,
                lambda row, d: load(query, (job.image, start + first * rows + row, job.head, d), 1),
                lambda vector, d: load(job.keys, (place + d * width + vector * of.lanes,), of.lanes),
                lambda row, vector, total: store(
                    job.scores, total, (first * rows + row, at * of.tile + vector * of.lanes), of.lanes
                ),
            )

        return loop(of.choice["block"] // rows, group, name="rows")

    return _over_key_tiles(of, reach(of, start, of.tile, of.keys // of.tile), tile)


def mix(job: Job, start: Index, result: Any) -> Stmt:
    """Softmax times values."""
    of = job.of
    rows = of.choice["mix_rows"]
    steps = reach(of, start, 1, of.keys)

    def tile(first: Index, widths: Sequence[int]) -> Stmt:
        total = sum(widths)
        starts = list(itertools.accumulate(widths, initial=0))

        def group(at: Index) -> Stmt:
            def finish(row: int, vector: int, value: Expr) -> Stmt:
                inverse = load(job.inverse, (at * rows + row,), 1)
                width = widths[vector]
                scaled = value * (tirx.Broadcast(inverse, width) if width > 1 else inverse)
                place = (job.image, start + at * rows + row, job.head, first + starts[vector])
                return store(result, scaled, place, width)

            return product_tile(
                rows,
                widths,
                steps,
                lambda row, t: load(job.scores, (at * rows + row, t), 1),
                lambda vector, t: load(
                    job.values, (first * of.keys + t * total + starts[vector],), widths[vector]
                ),
                finish,
            )

        return loop(of.choice["block"] // rows, group, name="rows")

    return _over_value_tiles(of, tile)
