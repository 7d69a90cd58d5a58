"""From seconds of kernels to seconds of a network: what lies between the kernels, learnt from whole networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from evaluators.compile.kernel_facts import KernelFacts

LAUNCH_S = 0.4e-6
RUNTIME_S = 4e-6
"""Of a call of a kernel, and of a call of the network, until networks were timed: as on a processor of 3 GHz."""

TERMS = ("kernels", "calls", "constant", "bytes", "parallel")

_PULL = 0.3
"""How much the weights are held to their start, as if so large an error of each were one of a network."""

_FEWEST = 6
"""With fewer networks timed only one factor is learnt."""


@dataclass(frozen=True)
class Overheads:
    """Seconds of a network: those of its kernels times a factor, and some for each call, byte and launch."""

    weights: tuple[float, ...] = (1.0, LAUNCH_S, RUNTIME_S, 0.0, 0.0)

    def seconds(self, terms: NDArray[np.float64]) -> NDArray[np.float64]:
        """Seconds of networks whose ``terms`` are rows."""
        total: NDArray[np.float64] = terms @ np.array(self.weights)
        return total


def terms_of(kernels: Sequence[KernelFacts], seconds: Mapping[str, float]) -> list[float]:
    """What a network's seconds are made of, in the order of ``TERMS``; ``seconds`` of a call by kernel's key."""
    return [
        sum(kernel.calls * seconds[kernel.key] for kernel in kernels),
        float(sum(kernel.calls for kernel in kernels)),
        1.0,
        sum(kernel.calls * kernel.counts["bytes"] for kernel in kernels),
        float(sum(kernel.calls for kernel in kernels if kernel.counts["parallel"] > 1)),
    ]


def learn_overheads(terms: NDArray[np.float64], seconds: NDArray[np.float64]) -> Overheads:
    """The weights of least relative error, none below 0, drawn to those of ``Overheads()`` by few networks."""
    start = np.array(Overheads().weights)
    if len(seconds) < _FEWEST:
        factor = float(np.median(seconds / (terms @ start))) if len(seconds) else 1.0
        return Overheads(tuple(float(weight * factor) for weight in start))
    pull = np.diag(np.abs(terms).mean(axis=0) / seconds.mean()) * _PULL
    rows = np.vstack([terms / seconds[:, None], pull])
    goal = np.concatenate([np.ones(len(seconds)), pull @ start])
    weights, _ = nnls(rows, goal)
    return Overheads(tuple(float(weight) for weight in weights))
