"""How a processor multiplies quantised values: its dot-product instruction, or the multiplication it has instead.

A quantised value q of scale s and zero point z stands for s * (q - z). In memory it is held as q - z + ``offset``
in the type that the instruction takes, so that a sum of products is an integer sum exactly. x86's VPMADDUBSW
saturates in between: it is used for weights that cannot bring it there, whatever the values are. Those of seven
bits ("reduce_range" of ONNX Runtime's quantiser) never do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hw_profiles.profile import Profile

Weights = Any
"""An array of numpy or a tensor of torch."""
_MOST_JOINED = 4
"""Beyond, an eighth of the instructions at most would be saved, for weights of half the size."""
_MOST_TAPS = 15
"""Of a depthwise kernel, in a sum of 16 bits."""
PAIRED_SUM = 128
"""What neither the positive nor the negative weights of a sum in 16 bits may exceed, times 255."""
GROUP = 4
"""Values that an instruction for bytes takes together."""
GROUP_BITS = 32
"""Of the left values that one instruction takes together: ``depth`` of them."""


@dataclass(frozen=True)
class Dot:
    """``lanes`` 32-bit sums, each of which takes ``depth`` products of a ``dtype`` value with an int8 weight.

    ``intrinsic`` is LLVM's name of the instruction, None where a plain multiplication does as well. ``widened``
    weights are brought to ``dtype`` before; otherwise the instruction takes them as bytes. ``pairs`` names an
    instruction that comes first and adds two products in 16 bits. ``scratch`` registers are needed besides the
    operands.
    """

    lanes: int
    depth: int
    dtype: str
    intrinsic: str | None
    widened: bool = False
    pairs: str | None = None
    scratch: int = 0

    def is_exact(self, weights: NDArray[np.int16], joined: int = 1) -> bool:
        """Whether no sum overflows on the way with these weights (I, O), I a multiple of ``joined * depth``."""
        if self.pairs is None:
            return True
        least, most = np.iinfo(np.int16).min, np.iinfo(np.int16).max
        parts = in_16_bits(weights.astype(np.int64), joined)
        above, below = (np.maximum(sign * parts, 0).sum(1).max(initial=0) for sign in (1, -1))
        return bool(255 * above <= most and -255 * below >= least)

    def offset(self, zero_point: int, lowest: int) -> int:
        """What is added to q - z so that it fits ``dtype``, for the 256 quantised values from ``lowest`` on."""
        if self.dtype == "int16":
            return 0
        return zero_point - lowest - (128 if self.dtype == "int8" else 0)


def in_16_bits(weights: Weights, joined: int) -> Weights:
    """Weights (I, ...) of a product by VPMADDUBSW as (sums, terms, ...): those whose products meet in 16 bits.

    A lane takes two of each group of four values, of ``joined`` groups.
    """
    shape = (len(weights) // (GROUP * joined), joined, 2, 2)
    lanes = weights.reshape(*shape, *weights.shape[1:]).swapaxes(1, 2)
    return lanes.reshape(2 * shape[0], 2 * joined, *weights.shape[1:])


def joined_groups(groups: int) -> int:
    """Of the groups of four values along a sum, how many are best added in 16 bits before they are widened.

    The more, the fewer instructions; and the smaller the weights must be.
    """
    return next(count for count in range(_MOST_JOINED, 0, -1) if groups % count == 0)


def joined_rows(kernel: tuple[int, int]) -> int:
    """Of the rows of a depthwise kernel, an even number (or all): how many are added in 16 bits."""
    return min(kernel[0], max(2, _MOST_TAPS // kernel[1] // 2 * 2))


def rows_are_exact(weights: NDArray[np.int16]) -> bool:
    """Whether no sum of ``joined_rows`` overflows 16 bits in a depthwise layer of weights (C, 1, KH, KW)."""
    taken = joined_rows((weights.shape[2], weights.shape[3]))
    parts = [
        weights[:, 0, row : row + taken].reshape(len(weights), -1) for row in range(0, weights.shape[2], taken)
    ]
    sums = [
        np.maximum(sign * part.astype(np.int64), 0).sum(1).max(initial=0) for part in parts for sign in (1, -1)
    ]
    return bool(max(sums) <= PAIRED_SUM)


def dots_of(profile: Profile) -> tuple[Dot, ...]:
    """What the profile's processor has, the fastest first; the last takes any weights. No two share a type."""
    lanes = profile.vector_bits // 32
    features = frozenset(profile.features)
    if profile.isa == "aarch64":
        if "asimddp" in features:
            return (Dot(lanes, 4, "int8", "llvm.aarch64.neon.sdot.v4i32.v16i8"),)
        return (Dot(lanes, 1, "int16", None, scratch=1),)
    if lanes == 16 and "avx512_vnni" in features:
        return (Dot(lanes, 4, "uint8", "llvm.x86.avx512.vpdpbusd.512"),)
    if lanes == 8 and "avx_vnni" in features:
        return (Dot(lanes, 4, "uint8", "llvm.x86.avx512.vpdpbusd.256"),)
    sums = {4: "llvm.x86.sse2.pmadd.wd", 8: "llvm.x86.avx2.pmadd.wd", 16: "llvm.x86.avx512.pmaddw.d.512"}
    pairs = {8: "llvm.x86.avx2.pmadd.ub.sw", 16: "llvm.x86.avx512.pmaddubs.w.512"}
    any_weights = Dot(lanes, 2, "int16", sums[lanes], widened=True, scratch=1)
    if lanes not in pairs:
        return (any_weights,)
    return Dot(lanes, 4, "uint8", sums[lanes], pairs=pairs[lanes], scratch=2), any_weights


def weight_bits(profile: Profile) -> int:
    """Bits of the weights that the processor's fastest instruction multiplies, whatever their values: 8, or 7."""
    return 7 if dots_of(profile)[0].pairs else 8


def dot_for(profile: Profile, dtype: str) -> Dot | None:
    """The one that takes left values of that type."""
    return next((dot for dot in dots_of(profile) if dot.dtype == dtype), None)
