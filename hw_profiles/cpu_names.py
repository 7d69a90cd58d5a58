"""From the flags of a processor to the LLVM name of it that is safe to compile for.

LLVM may use every instruction of the processor it is told of, and an instruction that the machine lacks kills
the process. So a name is chosen by the flags that are really there, never by the model alone: virtual
machines hide features, and firmware can switch them off. A row lists every feature that LLVM gives the
processor and that its code generator uses by itself (a test holds the table against the installed LLVM);
features reachable through intrinsics only (``mwaitx``, ``pku``, ``clzero``, ...) are left out. The levels
x86-64-v2 to v4 are those of the System V ABI, AMD64 supplement, table 3.1.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType


def _flags(text: str, *bases: frozenset[str]) -> frozenset[str]:
    return frozenset(text.split()).union(*bases)


_V1 = _flags("cmov cx8 fxsr mmx sse sse2")
_V2 = _flags("cx16 lahf_lm pni popcnt sse4_1 sse4_2 ssse3", _V1)
_V3 = _flags("abm avx avx2 bmi1 bmi2 f16c fma movbe xsave", _V2)
_V4 = _flags("avx512bw avx512cd avx512dq avx512f avx512vl", _V3)
_CRYPTO = _flags("gfni vaes vpclmulqdq")
_AVX512_2019 = _flags(
    "avx512_bitalg avx512_vbmi2 avx512_vnni avx512_vpopcntdq avx512ifma avx512vbmi rdpid sha_ni", _CRYPTO, _V4
)
_ZEN1 = _flags("3dnowprefetch adx aes clflushopt pclmulqdq rdrand rdseed sha_ni sse4a xsavec xsaveopt xsaves", _V3)
_ZEN2 = _flags("clwb rdpid", _ZEN1)
_ZEN3 = _flags("vaes vpclmulqdq", _ZEN2)
_ZEN4 = _flags("avx512_bf16", _AVX512_2019, _ZEN3)
_ZEN5 = _flags("avx512_vp2intersect avx_vnni movdir64b movdiri", _ZEN4)
_HASWELL = _flags("pclmulqdq rdrand xsaveopt", _V3)
_SKYLAKE = _flags("3dnowprefetch adx aes clflushopt rdseed xsavec xsaves", _HASWELL)
_ALDERLAKE = _flags("avx_vnni clwb movdir64b movdiri rdpid serialize sha_ni waitpkg", _CRYPTO, _SKYLAKE)
_SKYLAKE_SERVER = _flags("clwb", _SKYLAKE, _V4)
_CASCADELAKE = _flags("avx512_vnni", _SKYLAKE_SERVER)
_ICELAKE_CLIENT = _flags("", _AVX512_2019, _SKYLAKE)
_ICELAKE_SERVER = _flags("", _ICELAKE_CLIENT, _CASCADELAKE)
_SAPPHIRERAPIDS = _flags(
    "amx_bf16 amx_int8 amx_tile avx512_bf16 avx512_fp16 avx_vnni cldemote movdir64b movdiri serialize waitpkg",
    _ICELAKE_SERVER,
)

LEVELS: Mapping[str, frozenset[str]] = MappingProxyType(
    {"x86-64-v4": _V4, "x86-64-v3": _V3, "x86-64-v2": _V2, "x86-64": _V1}
)
"""The levels that any maker's processor may have, richest first, with the flags each needs."""

FAMILIES: Mapping[str, Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "AuthenticAMD": {"znver5": _ZEN5, "znver4": _ZEN4, "znver3": _ZEN3, "znver2": _ZEN2, "znver1": _ZEN1},
        "GenuineIntel": {
            "sapphirerapids": _SAPPHIRERAPIDS,
            "icelake-server": _ICELAKE_SERVER,
            "icelake-client": _ICELAKE_CLIENT,
            "cascadelake": _CASCADELAKE,
            "skylake-avx512": _SKYLAKE_SERVER,
            "alderlake": _ALDERLAKE,
            "skylake": _SKYLAKE,
            "haswell": _HASWELL,
        },
    }
)
"""By maker: the processors told apart, richest first, with the flags each needs."""


_ARM_V8 = _flags("asimd crc32 fp")
_ARM_V8_2 = _flags("asimdhp asimdrdm atomics fphp", _ARM_V8)
_ARM_DOT = _flags("asimddp lrcpc", _ARM_V8_2)

ARM_CORES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "cortex-a57": _ARM_V8,
        "cortex-a72": _ARM_V8,
        "carmel": _ARM_V8_2,
        "cortex-a55": _ARM_DOT,
        "cortex-a76": _ARM_DOT,
        "cortex-a78": _ARM_DOT,
        "cortex-a78ae": _ARM_DOT,
        "neoverse-n1": _ARM_DOT,
    }
)
"""ARM's 64-bit cores, with the flags that code for each may use (names of /proc/cpuinfo on Linux for arm64)."""


_ARM_PARTS: Mapping[tuple[int, int], str] = MappingProxyType(
    {
        (0x41, 0xD05): "cortex-a55",
        (0x41, 0xD07): "cortex-a57",
        (0x41, 0xD08): "cortex-a72",
        (0x41, 0xD0B): "cortex-a76",
        (0x41, 0xD0C): "neoverse-n1",
        (0x41, 0xD41): "cortex-a78",
        (0x41, 0xD42): "cortex-a78ae",
        (0x4E, 0x004): "carmel",
    }
)
"""ARM's cores by the implementer and part of /proc/cpuinfo (registers MIDR_EL1 in the makers' manuals)."""


def arm_cpu(implementer: int, part: int, flags: Collection[str]) -> str | None:
    """LLVM's name of an ARM core, or of a core with no instruction that it lacks; None for one without vectors.

    >>> arm_cpu(0x41, 0xD08, {"asimd", "crc32", "fp"})
    'cortex-a72'
    """
    there = frozenset(flags)
    named = _ARM_PARTS.get((implementer, part))
    alike = sorted((name for name, needed in ARM_CORES.items() if needed <= there), key=_richness)
    return named if named in alike else next(iter(alike), None)


def _richness(name: str) -> tuple[int, str]:
    return -len(ARM_CORES[name]), name


def llvm_cpu(vendor: str, flags: Collection[str]) -> str:
    """The richest LLVM processor name whose every needed flag is among ``flags`` (names of /proc/cpuinfo).

    >>> llvm_cpu("GenuineIntel", {"cmov", "cx8", "fxsr", "mmx", "sse", "sse2"})
    'x86-64'
    """
    there = frozenset(flags)
    return next((name for name, needed in _names(vendor).items() if needed <= there), "x86-64")


def mcpu_names(isa: str) -> tuple[str, ...]:
    """The LLVM names of the tables for ``x86_64`` or ``aarch64``; raises ``KeyError`` for another."""
    return tuple(_EVERY[isa])


def features_of(mcpu: str) -> frozenset[str]:
    """The flags that code for an LLVM name of the tables may use; raises ``KeyError`` for another name."""
    return {name: flags for names in _EVERY.values() for name, flags in names.items()}[mcpu]


def vector_width(flags: Collection[str]) -> tuple[int, int]:
    """Bits of a vector register and how many there are, for code that may use ``flags``.

    >>> vector_width({"avx", "avx2"})
    (256, 16)
    """
    if "avx512f" in flags:
        return 512, 32
    return (256, 16) if "avx" in flags else (128, 16)


def vector_pipes(mcpu: str) -> int:
    """Fused multiply-adds of whole vectors that a core starts in a cycle.

    >>> vector_pipes("cortex-a72"), vector_pipes("cortex-a76")
    (1, 2)
    """
    return 1 if mcpu in _ONE_PIPE else 2


def _names(vendor: str) -> dict[str, frozenset[str]]:
    return {**FAMILIES.get(vendor, {}), **LEVELS}


_ONE_PIPE = frozenset(["znver1", "znver4", "icelake-client", "cortex-a55", "cortex-a57", "cortex-a72", "carmel"])

_EVERY: Mapping[str, Mapping[str, frozenset[str]]] = {
    "x86_64": {name: flags for vendor in FAMILIES for name, flags in _names(vendor).items()},
    "aarch64": ARM_CORES,
}
