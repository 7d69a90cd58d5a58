"""How a processor multiplies quantised values: its dot-product instruction, or the multiplication it has instead.

A quantised value q of scale s and zero point z stands for s * (q - z). In memory it is held as q - z + ``offset``
in the type that the instruction takes, so that a sum of products is an integer sum exactly. x86's VPMADDUBSW
saturates in between: it is used for weights that cannot bring it there, whatever the values are. Those of seven
bits ("reduce_range" of ONNX Runtime's quantiser) never do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hw_profiles.profile import Profile

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

    def is_exact(self, weights: NDArray[np.int16]) -> bool:
        """Whether no sum overflows on the way with these weights (I, O), I a multiple of ``depth``."""
        if self.pairs is None:
            return True
        both = weights.astype(np.int64).reshape(-1, 2, weights.shape[1])
        limits = np.iinfo(np.int16)
        most, least = np.maximum(both, 0).sum(1).max(initial=0), np.minimum(both, 0).sum(1).min(initial=0)
        return bool(255 * most <= limits.max and 255 * least >= limits.min)

    def offset(self, zero_point: int, lowest: int) -> int:
        """What is added to q - z so that it fits ``dtype``, for the 256 quantised values from ``lowest`` on."""
        if self.dtype == "int16":
            return 0
        return zero_point - lowest - (128 if self.dtype == "int8" else 0)


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
