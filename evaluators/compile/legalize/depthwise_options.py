"""Ways to cut a depthwise convolution into tiles and jobs."""

from __future__ import annotations

import itertools

from evaluators.compile.blocking import Layer
from evaluators.compile.choices import Choice
from evaluators.compile.tiles import FLOAT_BITS, lanes_for
from hw_profiles.profile import Profile

_BYTES = FLOAT_BITS // 8


def depthwise_options(layer: Layer, profile: Profile) -> list[Choice]:
    """Ways to compute a depthwise layer, the model's first.

    Half of the registers accumulate, for the others hold a row of the kernel and inputs. An image that is
    streamed from beyond the second-level cache is read by two vectors of channels at a time, so that no line of
    the cache is fetched twice; one that lies in it by one, which leaves more columns to share each input.
    """
    lanes, channels = lanes_for(layer.groups, profile.vector_bits), layer.groups
    streamed = layer.image[0] * layer.image[1] * channels * _BYTES > profile.l2_bytes
    accumulators = profile.vector_registers // 2
    vectors = sorted({1, min(2, max(1, channels // lanes))}, reverse=streamed)
    totals = (accumulators, accumulators + 2, accumulators - 2)
    return [
        {
            "rows": rows,
            "columns": min(layer.columns, max(1, total // count)),
            "lanes": count * lanes,
            "parts": _parts(layer, rows, count * lanes, profile),
        }
        for count, total in itertools.product(vectors, totals)
        for rows in _blocks(layer, count, profile)
    ]


def _blocks(layer: Layer, count: int, profile: Profile) -> list[int]:
    """Rows of a block, those first that leave the busiest thread the fewest."""
    sizes = (min(rows * count, layer.rows) for rows in (2, 4, 1, 8))

    def busiest(rows: int) -> int:
        blocks = layer.batch * -(-layer.rows // rows)
        return min(-(-blocks // profile.threads) * rows, layer.batch * layer.rows)

    return sorted(dict.fromkeys(sizes), key=busiest)


def _parts(layer: Layer, rows: int, lanes: int, profile: Profile) -> int:
    """Parts of the channels for as many jobs as threads, where there are too few blocks of rows."""
    few = layer.batch * -(-layer.rows // rows) < profile.threads
    return profile.threads if few and layer.groups % (lanes * profile.threads) == 0 else 1
