"""Attention as one kernel, written out: softmax(Q K^T * scale + bias) V for one head and some queries at a time.

A job is one head of one batch and a share of its queries. It lays the head's keys and values out for its products
(keys transposed in tiles of vectors over keys, values in tiles of vectors over channels), then takes a block of
queries at a time through scores, softmax and the product with the values while the block's scores are in the cache,
as in Dao et al., "FlashAttention" (2022), section 3.1, but with whole rows of scores: they fit. Queries, keys, values
and result are (batch, tokens, heads, channels), so that no heads are moved. Rows whose keys are all masked give zeros,
as torch's scaled_dot_product_attention does.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tvm import s_tir, te, tirx
from tvm.ir import Expr
from tvm.tirx import ForKind, Stmt

from evaluators.compile.choices import Choice, read, written
from evaluators.compile.kernels.emit import (
    Index,
    bind,
    buffer,
    constant,
    load,
    loop,
    over_channels,
    sequence,
    store,
    whole,
    whole_region,
)
from evaluators.compile.kernels.register_tile import fold, product_tile, widths_of

NAME = "attention"
LOWEST = -3.4028234663852886e38
"""The lowest float32: a maximum over nothing but minus infinities."""


@dataclass(frozen=True)
class Attention:
    """The sizes of an attention and how it is cut.

    ``choice`` has ``block`` (queries of a block), ``rows`` and ``vectors`` (the register tile of the scores), ``mix_rows`` and
    ``mix`` (rows and vectors of the tile of the product with the values), ``lanes`` and ``shares`` (jobs a head's queries are
    divided into).
    """

    batch: int
    heads: int
    queries: int
    keys: int
    channels: int
    values: int
    scale: float
    causal: bool
    choice: Choice
    parallel: bool = False

    @property
    def lanes(self) -> int:
        return self.choice["lanes"]

    @property
    def tile(self) -> int:
        """Keys of a register tile of scores."""
        return self.choice["vectors"] * self.lanes

    @property
    def padded_keys(self) -> int:
        return -(-self.keys // self.lanes) * self.lanes

    @property
    def share(self) -> int:
        """Queries of a job."""
        return -(-self.queries // self.choice["shares"])

    @property
    def work(self) -> int:
        """Multiply-adds."""
        return self.batch * self.heads * self.queries * self.keys * (self.channels + self.values)


@dataclass(frozen=True)
class _Job:
    """A job's place and its own buffers."""

    of: Attention
    image: Index
    head: Index
    keys: Any
    values: Any
    scores: Any
    inverse: Any


def attention(of: Attention, query: Any, key: Any, value: Any, bias: Any | None, result: Any) -> Stmt:
    """The whole kernel; ``bias`` is added to the scaled scores and has extents of one where it is the same."""

    def body(at: Index) -> Stmt:
        place = at // of.choice["shares"]
        job = _Job(
            of,
            place // of.heads,
            place % of.heads,
            buffer("packed_keys", of.padded_keys * of.channels),
            buffer("packed_values", of.keys * of.values),
            buffer("scores", of.choice["block"], of.padded_keys),
            buffer("inverse", of.choice["block"]),
        )
        first = at % of.choice["shares"] * of.share
        if of.queries % of.choice["shares"]:
            first = tirx.min(first, whole(of.queries - of.share))
        return sequence(
            *(tirx.AllocBuffer(own) for own in (job.keys, job.values, job.scores, job.inverse)),
            _pack_keys(job, key),
            _pack_values(job, value),
            _blocks(job, first, query, bias, result),
        )

    kind = ForKind.PARALLEL if of.parallel else ForKind.SERIAL
    return loop(of.batch * of.heads * of.choice["shares"], body, kind, "job")


def _blocks(job: _Job, first: Index, query: Any, bias: Any | None, result: Any) -> Stmt:
    of = job.of
    block = of.choice["block"]

    def body(at: Index) -> Stmt:
        start = at * block
        if of.share % block:
            start = tirx.min(start, whole(of.share - block))
        start = first + start
        return sequence(
            _scores(job, start, query),
            loop(block, lambda row: _softmax(job, row, start + row, bias), name="row"),
            _mix(job, start, result),
        )

    return loop(-(-of.share // block), body, name="block")


def _reach(of: Attention, start: Index, step: int, most: int) -> Index:
    """How many steps of so many keys a block of queries needs: with a causal mask, up to its last query."""
    if not of.causal:
        return most
    return tirx.min((start + (of.choice["block"] + step - 1)) // step, whole(most))


def _pack_keys(job: _Job, key: Any) -> Stmt:
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
                    job.keys, load(key, (job.image, at * of.tile + start + t, job.head, d), 1), (place + start + t,), 1
                )

            starts = range(0, inside, lanes)
            copies = [loop(min(lanes, inside - t), lane(t), ForKind.VECTORIZED, "t") for t in starts]
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


def _pack_values(job: _Job, value: Any) -> Stmt:
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


def _scores(job: _Job, start: Index, query: Any) -> Stmt:
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

    return _over_key_tiles(of, _reach(of, start, of.tile, of.keys // of.tile), tile)


def _softmax(job: _Job, row: Index, query: Index, bias: Any | None) -> Stmt:
    """exp(score - greatest score) of a row in place, and one over their sum."""
    of, lanes = job.of, job.of.lanes
    count = _reach(of, query - row, lanes, of.padded_keys // lanes)
    factor = of.scale
    parts: list[Stmt] = []
    if bias is not None:
        parts.append(_add_bias(job, row, query, bias))
        factor = 1.0
    if of.causal:
        parts.append(_hide_later(job, row, query))
    if of.padded_keys > of.keys:
        hidden = of.padded_keys - of.keys
        parts.append(store(job.scores, constant(-math.inf, hidden), (row, of.keys), hidden))
    own = buffer("row", 2, lanes)
    greatest: list[Stmt] = []
    most = fold(load(own, (0, 0), lanes), lanes, tirx.max, greatest)
    offset = tirx.Broadcast(bind(most * -factor, 1, greatest), lanes)
    total: list[Stmt] = []
    summed = fold(load(own, (1, 0), lanes), lanes, lambda a, b: a + b, total)
    inverse = tirx.Select(summed > 0.0, 1.0 / summed, tirx.FloatImm("float32", 0.0))

    def exponential(v: Index) -> Stmt:
        statements: list[Stmt] = []
        shifted = load(job.scores, (row, v * lanes), lanes) * constant(factor, lanes) + offset
        value = bind(tirx.exp(shifted), lanes, statements)
        statements.append(store(job.scores, value, (row, v * lanes), lanes))
        statements.append(store(own, load(own, (1, 0), lanes) + value, (1, 0), lanes))
        return sequence(*statements)

    def larger(v: Index) -> Stmt:
        score = load(job.scores, (row, v * lanes), lanes)
        return store(own, tirx.max(load(own, (0, 0), lanes), score), (0, 0), lanes)

    return sequence(
        tirx.AllocBuffer(own),
        *parts,
        store(own, constant(LOWEST, lanes), (0, 0), lanes),
        store(own, constant(0, lanes), (1, 0), lanes),
        loop(count, larger, name="v"),
        *greatest,
        loop(count, exponential, name="v"),
        *total,
        store(job.inverse, inverse, (row,), 1),
    )


def _add_bias(job: _Job, row: Index, query: Index, bias: Any) -> Stmt:
    of = job.of
    place = [
        index if int(extent) > 1 else whole(0)
        for extent, index in zip(bias.shape[:-1], (job.image, job.head, query), strict=True)
    ]

    def vector(t: Index, width: int) -> Stmt:
        biased = load(job.scores, (row, t), width) * constant(of.scale, width) + load(bias, (*place, t), width)
        return store(job.scores, biased, (row, t), width)

    return over_channels(of.keys, of.lanes, vector)


def _hide_later(job: _Job, row: Index, query: Index) -> Stmt:
    """Minus infinity for keys behind the query, in the vectors of its block."""
    of, lanes = job.of, job.of.lanes
    first = query // lanes
    last = _reach(of, query - row, lanes, of.padded_keys // lanes)

    def vector(v: Index) -> Stmt:
        t = (first + v) * lanes
        later = tirx.Ramp(t, whole(1), lanes) > tirx.Broadcast(query, lanes)
        score = load(job.scores, (row, t), lanes)
        return store(job.scores, tirx.Select(later, constant(-math.inf, lanes), score), (row, t), lanes)

    return loop(tirx.max(last - first, whole(0)), vector, name="v")


def _mix(job: _Job, start: Index, result: Any) -> Stmt:
    """Softmax times values."""
    of = job.of
    rows = of.choice["mix_rows"]
    steps = _reach(of, start, 1, of.keys)

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


def attention_stage(of: Attention, *tensors: te.Tensor) -> te.Tensor:
    """The kernel over queries, keys, values and, where there is one, the bias as one stage that knows its sizes."""
    names = ("query", "key", "value", "bias")
    sources = [
        tirx.decl_buffer(tensor.shape, tensor.dtype, name, layout=None)
        for tensor, name in zip(tensors, names, strict=False)
    ]
    result = buffer("result", of.batch, of.queries, of.heads, of.values)
    query, key, value, *bias = sources
    body = attention(of, query, key, value, bias[0] if bias else None, result)
    notes = {**written(of.choice), "scale": of.scale, "causal": int(of.causal)}
    block = s_tir.SBlock([], [whole_region(source) for source in sources], [whole_region(result)], NAME, body, annotations=notes)
    return te.extern(
        [result.shape],
        list(tensors),
        lambda ins, outs: s_tir.SBlockRealize([], True, block),
        NAME,
        in_buffers=sources,
        out_buffers=[result],
    )


def read_attention(block: Any) -> tuple[Attention, list[Any], Any]:
    """The sizes, the buffers read and the buffer written by the stage of ``attention_stage``."""
    sources = [region.source for region in block.reads]
    (result,) = (region.source for region in block.writes)
    batch, queries, heads, values = (int(extent) for extent in result.shape)
    _, keys, _, channels = (int(extent) for extent in sources[1].shape)
    notes = block.annotations
    choice = read(notes)
    sizes = Attention(
        batch, heads, queries, keys, channels, values, float(notes["scale"]), bool(int(notes["causal"])), choice
    )
    return sizes, sources, result
