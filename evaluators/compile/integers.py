"""How a processor multiplies quantised values: its dot-product instruction, or the multiplication it has instead.

A quantised value q of scale s and zero point z stands for s * (q - z). In memory it is held as q - z + ``offset``
in the type that the instruction takes, so that a sum of products is an integer sum exactly: no saturation in
between (as with x86's VPMADDUBSW), whatever the values are.
"""

from __future__ import annotations

from dataclasses import dataclass

from hw_profiles.profile import Profile

GROUP_BITS = 32
"""Of the left values that one instruction takes together: ``depth`` of them."""


@dataclass(frozen=True)
class Dot:
    """``lanes`` 32-bit sums, each of which takes ``depth`` products of a ``dtype`` value with an int8 weight.

    ``intrinsic`` is LLVM's name of the instruction, None where a plain multiplication does as well. ``widened``
    weights are brought to ``dtype`` before; otherwise the instruction takes them as bytes.
    """

    lanes: int
    depth: int
    dtype: str
    intrinsic: str | None
    widened: bool = False

    def offset(self, zero_point: int, lowest: int) -> int:
        """What is added to q - z so that it fits ``dtype``, for the 256 quantised values from ``lowest`` on."""
        if self.dtype == "int16":
            return 0
        return zero_point - lowest - (128 if self.dtype == "int8" else 0)


def dot_of(profile: Profile) -> Dot:
    """The best that the profile's processor has."""
    lanes = profile.vector_bits // 32
    features = frozenset(profile.features)
    if profile.isa == "aarch64":
        if "asimddp" in features:
            return Dot(lanes, 4, "int8", "llvm.aarch64.neon.sdot.v4i32.v16i8")
        return Dot(lanes, 1, "int16", None)
    if lanes == 16 and "avx512_vnni" in features:
        return Dot(lanes, 4, "uint8", "llvm.x86.avx512.vpdpbusd.512")
    if lanes == 8 and "avx_vnni" in features:
        return Dot(lanes, 4, "uint8", "llvm.x86.avx512.vpdpbusd.256")
    pairs = {4: "llvm.x86.sse2.pmadd.wd", 8: "llvm.x86.avx2.pmadd.wd", 16: "llvm.x86.avx512.pmaddw.d.512"}
    return Dot(lanes, 2, "int16", pairs[lanes], widened=True)
