"""Attention as one kernel, written out: softmax(Q K^T * scale + bias) V for one head and some queries at a time.

A job is one head of one batch and a share of its queries. It lays the head's keys and values out for its products
(keys transposed in tiles of vectors over keys, values in tiles of vectors over channels), then takes a block of
queries at a time through scores, softmax and the product with the values while the block's scores are in the
cache, as in Dao et al., "FlashAttention" (2022), section 3.1, but with whole rows of scores: they fit. Queries,
keys, values and result are (batch, tokens, heads, channels), so that no heads are moved. Rows whose keys are all
masked give zeros, as torch's scaled_dot_product_attention does.
"""

from __future__ import annotations

from typing import Any

from tvm import s_tir, te, tirx
from tvm.tirx import ForKind, Stmt

from evaluators.compile.choices import OPERATIONS, read, written
from evaluators.compile.kernels.attention_products import mix, pack_keys, pack_values, scores
from evaluators.compile.kernels.attention_sizes import Attention, Job
from evaluators.compile.kernels.attention_softmax import softmax
from evaluators.compile.kernels.emit import Index, buffer, loop, sequence, whole, whole_region

NAME = "attention"


def attention(of: Attention, query: Any, key: Any, value: Any, bias: Any | None, result: Any) -> Stmt:
    """The whole kernel; ``bias`` is added to the scaled scores and has extents of one where it is the same."""

    def body(at: Index) -> Stmt:
        place = at // of.choice["shares"]
        job = Job(
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
            pack_keys(job, key),
            pack_values(job, value),
            _blocks(job, first, query, bias, result),
        )

    kind = ForKind.PARALLEL if of.parallel else ForKind.SERIAL
    return loop(of.batch * of.heads * of.choice["shares"], body, "job", kind)


def _blocks(job: Job, first: Index, query: Any, bias: Any | None, result: Any) -> Stmt:
    of = job.of
    block = of.choice["block"]

    def body(at: Index) -> Stmt:
        start = at * block
        if of.share % block:
            start = tirx.min(start, whole(of.share - block))
        start = first + start
        return sequence(
            scores(job, start, query),
            loop(block, lambda row: softmax(job, row, start + row, bias), name="row"),
            mix(job, start, result),
        )

    return loop(-(-of.share // block), body, name="block")


def attention_stage(of: Attention, *tensors: te.Tensor) -> te.Tensor:
    """The kernel over queries, keys, values and, if there is one, the bias as one stage that knows its sizes."""
    names = ("query", "key", "value", "bias")
    sources = [
        tirx.decl_buffer(tensor.shape, tensor.dtype, name, layout=None)
        for tensor, name in zip(tensors, names, strict=False)
    ]
    result = buffer("result", of.batch, of.queries, of.heads, of.values)
    query, key, value, *bias = sources
    body = attention(of, query, key, value, bias[0] if bias else None, result)
    notes = {**written(of.choice), OPERATIONS: 2 * of.work, "scale": of.scale, "causal": int(of.causal)}
    block = s_tir.SBlock(
        [], [whole_region(source) for source in sources], [whole_region(result)], NAME, body, annotations=notes
    )
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
