"""Softmax over a row of attention scores: scale, bias, hidden keys."""

from __future__ import annotations

import math
from typing import Any

from tvm import tirx
from tvm.tirx import Stmt

from evaluators.compile.kernels.attention_sizes import Job, reach
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
)
from evaluators.compile.kernels.register_tile import fold

LOWEST = -3.4028234663852886e38
"""The lowest float32: a maximum over nothing but minus infinities."""


def softmax(job: Job, row: Index, query: Index, bias: Any | None) -> Stmt:
    """exp(score - greatest score) of a row in place, and one over their sum."""
    of, lanes = job.of, job.of.lanes
    count = reach(of, query - row, lanes, of.padded_keys // lanes)
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


def _add_bias(job: Job, row: Index, query: Index, bias: Any) -> Stmt:
    of = job.of
    place = [
        index if int(extent) > 1 else whole(0)
        for extent, index in zip(bias.shape[:-1], (job.image, job.head, query), strict=True)
    ]

    def vector(t: Index, width: int) -> Stmt:
        biased = load(job.scores, (row, t), width) * constant(of.scale, width) + load(bias, (*place, t), width)
        return store(job.scores, biased, (row, t), width)

    return over_channels(of.keys, of.lanes, vector)


def _hide_later(job: Job, row: Index, query: Index) -> Stmt:
    """Minus infinity for keys behind the query, in the vectors of its block."""
    of, lanes = job.of, job.of.lanes
    first = query // lanes
    last = reach(of, query - row, lanes, of.padded_keys // lanes)

    def vector(v: Index) -> Stmt:
        t = (first + v) * lanes
        later = tirx.Ramp(t, whole(1), lanes) > tirx.Broadcast(query, lanes)
        score = load(job.scores, (row, t), lanes)
        return store(job.scores, tirx.Select(later, constant(-math.inf, lanes), score), (row, t), lanes)

    return loop(tirx.max(last - first, whole(0)), vector, name="v")
