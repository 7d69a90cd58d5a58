"""The first candidates of a search: spread over what is free to know, before any accuracy is known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from search.samplers.encoding import Array

Codes = NDArray[np.int64]


def spread_out(codes: Codes, costs: Array, count: int, random: np.random.Generator) -> NDArray[np.intp]:
    """The places of ``count`` of n candidates, one from each of as many layers of equal size by cost, (n,).

    From its layer each is the one that differs in most choices from the nearest that was taken before (maximin:
    Johnson, Moore and Ylvisaker, 1990), so that no value of a choice is left out. Fewer where there are fewer.
    """
    drawn = random.permutation(len(codes))
    ordered = drawn[np.argsort(costs[drawn], kind="stable")]
    layers = [layer for layer in np.array_split(ordered, count) if len(layer)]
    taken: list[int] = []
    nearest = np.full(len(codes), codes.shape[1] + 1)
    for at in random.permutation(len(layers)):
        layer = random.permutation(layers[at])
        best = int(layer[np.argmax(nearest[layer])])
        taken.append(best)
        nearest = np.minimum(nearest, (codes != codes[best]).sum(1))
    return np.array(taken, np.intp)
