"""``relax.nn.attention`` as one kernel."""

from __future__ import annotations

import math
from collections.abc import Iterator

from tvm import relax, te

from evaluators.compile.choices import Choice, KernelKey
from evaluators.compile.kernels.attention import attention_stage
from evaluators.compile.kernels.attention_sizes import Attention
from evaluators.compile.legalize.context import Context, whole
from evaluators.compile.tiles import FLOAT_BITS, divisors
from hw_profiles.profile import Profile

_ROWS = 12
"""Queries of a block are a multiple of this, which tiles of 1, 2, 3, 4, 6 and 12 rows divide."""
_PIPES, _LOADS, _LATENCY = 2, 1.8, 4
"""Multiply-adds and loads a cycle, and cycles of a multiply-add."""
_OPAQUE = 8
"""TVM's ``OpPatternKind`` of a kernel that nothing is fused with."""


def attention(builder: relax.BlockBuilder, call: relax.Call, context: Context) -> relax.Expr | None:
    """Attention over float32, with no mask, an added one, or the causal one that starts at the first key."""
    causal = str(call.attrs.causal_mask) if call.attrs.causal_mask is not None else None
    arguments = list(call.args)
    if causal not in (None, "TopLeft") or call.attrs.window_size is not None or str(call.ty.dtype) != "float32":
        return None
    batch, queries, heads, channels = whole(arguments[0].ty.shape)
    _, keys, _, values = whole(arguments[2].ty.shape)
    if whole(arguments[1].ty.shape) != (batch, keys, heads, channels) or (
        len(arguments) > 3 and not _fits(whole(arguments[3].ty.shape), (batch, heads, queries, keys))
    ):
        return None
    scale = float(call.attrs.scale) if call.attrs.scale is not None else 1 / math.sqrt(channels)
    if scale <= 0:
        return None
    facts = {
        "b": batch,
        "h": heads,
        "q": queries,
        "k": keys,
        "c": channels,
        "v": values,
        "causal": int(bool(causal)),
    }
    options = list(_options(batch * heads, queries, keys, values, context.profile))
    choice = context.choose(KernelKey("attention", tuple(facts.items())), options)
    sizes = Attention(batch, heads, queries, keys, channels, values, scale, bool(causal), choice)

    def build(*tensors: te.Tensor) -> te.Tensor:
        return attention_stage(sizes, *tensors)

    return builder.call_te(
        build, *arguments, primfunc_name_hint="attention", primfunc_attrs={"op_pattern": _OPAQUE}
    )


def _fits(bias: tuple[int, ...], scores: tuple[int, ...]) -> bool:
    """Whether a mask can be read along the keys for every query."""
    same = all(given in (1, extent) for given, extent in zip(bias[:-1], scores[:-1], strict=True))
    return same and bias[-1] == scores[-1]


def _options(heads: int, queries: int, keys: int, values: int, profile: Profile) -> Iterator[Choice]:
    """Ways to cut it, the one first whose scores of a block take a fair part of the first cache."""
    shares = _shares(heads, queries, profile.threads)
    share = -(-queries // shares)
    rows = _ROWS if share >= _ROWS else share
    lanes = profile.vector_bits // FLOAT_BITS
    scores = _register_tile(rows, -(-keys // lanes), profile.vector_registers)
    mix = _register_tile(rows, -(-values // lanes), profile.vector_registers)
    fitting = profile.l1d_bytes // 2 // (4 * max(keys, 1) * rows)
    most = max(1, min(fitting, share // rows, 4))
    for blocks in sorted(range(1, max(1, min(share // rows, 4)) + 1), key=lambda count: abs(count - most)):
        yield {
            "lanes": lanes,
            "block": rows * blocks,
            "rows": scores[0],
            "vectors": scores[1],
            "mix_rows": mix[0],
            "mix": mix[1],
            "shares": shares,
        }


def _register_tile(rows: int, vectors: int, registers: int) -> tuple[int, int]:
    """Rows, a divisor of those given, and vectors of a tile with the fewest modelled cycles."""
    candidates = [
        (height, width)
        for height in divisors(rows, registers)
        for width in range(1, vectors + 1)
        if height * width + width + 1 <= registers
    ]

    def cycles(tile: tuple[int, int]) -> float:
        height, width = tile
        step = max(height * width / _PIPES, (height + width) / _LOADS, _LATENCY) + 1
        return step / height * -(-vectors // width)

    return min(candidates, key=cycles)


def _shares(heads: int, queries: int, threads: int) -> int:
    """Into how many jobs the queries of a head are divided, so that all threads have equally many."""
    if threads == 1 or queries < 2 * _ROWS:
        return 1
    return next((count for count in divisors(threads, threads) if heads * count % threads == 0), threads)
