"""A hardware target as data: its facts with their sources, its TVM target, how to reach it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from hw_profiles.cpu_names import features_of, mcpu_names
from hw_profiles.data_file import read_facts
from hw_profiles.gpu import Gpu, require_count, require_number, require_peak
from hw_profiles.host import HOST, host_facts, host_flags
from understudy import ProfileError, unknown_name

Reach = Literal["host", "board", "none"]
Linker = Literal["system", "zig"]
SUFFIX = ".toml"
"""The ending of a profile's file."""

_DATA = Path(__file__).parent / "data"
_TRIPLES = {"x86_64": "x86_64-linux-gnu", "aarch64": "aarch64-linux-gnu"}
_COUNTS = ("vector_registers", "vector_pipes", "cores", "threads", "l1d_bytes", "l2_bytes", "memory_bytes")
_TEXTS = ("description", "isa", "mcpu", "verified")
_UNSOURCED = ("name", "isa", "reach", "linker", "verified", "sources", "gpu", "peaks")
_FLOAT_BITS = 32


@dataclass(frozen=True)
class Profile:
    """A processor that students run on; sizes in bytes, clock in GHz, bandwidth in bytes a second, power in watts.

    ``mcpu`` is LLVM's name of it and ``features`` the flags (names of /proc/cpuinfo) that code compiled for it
    may use: a machine that lacks one of them kills such code. ``vector_registers`` of ``vector_bits`` each
    are what a kernel can hold; a core starts ``vector_pipes`` fused multiply-adds of them in a cycle. ``cores``
    are physical ones, of which a student uses ``threads``. ``l1d_bytes`` and ``l2_bytes`` are one core's,
    ``l3_bytes`` (0 without one), ``memory_bytes`` and ``memory_bandwidth`` are shared. ``linker`` makes its
    libraries: the system's compiler, or zig, which needs no toolchain of the device. ``gpu``, where there is one,
    runs the students instead; the processor is its host then. ``idle_w`` and ``active_w`` are of the whole
    device (None: unknown). ``peaks`` are operations a second by dtype where the general formula of ``peak`` does
    not hold. ``reach`` is ``host`` when this computer can run its students, ``board`` when a board that was named
    can, ``none`` when they can only be compiled. ``verified`` says when and how the profile was tried on a real
    device, ``sources`` where each figure is from (a GPU's under ``gpu.<field>``).

    Raises ``ProfileError`` when a field is out of range or contradicts another, or a figure has no source.
    """

    name: str
    description: str
    isa: str
    mcpu: str
    features: tuple[str, ...]
    vector_bits: int
    vector_registers: int
    vector_pipes: int
    fma: bool
    cores: int
    threads: int
    l1d_bytes: int
    l2_bytes: int
    l3_bytes: int
    memory_bytes: int
    memory_bandwidth: float
    clock_ghz: float
    linker: Linker
    verified: str
    reach: Reach = "none"
    idle_w: float | None = None
    active_w: float | None = None
    gpu: Gpu | None = None
    peaks: Mapping[str, float] = field(default_factory=dict, hash=False)
    sources: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        for name in _TEXTS:
            self._require(isinstance(getattr(self, name), str), f"{name} must be text")
        self._require(self.isa in _TRIPLES, f"isa must be x86_64 or aarch64, but got {self.isa!r}")
        known = mcpu_names(self.isa)
        self._require(self.mcpu in known, unknown_name("mcpu", self.mcpu, known))
        self._check_figures()
        self._check_vectors()
        for name, allowed in (("reach", get_args(Reach)), ("linker", get_args(Linker))):
            value = getattr(self, name)
            self._require(value in allowed, f"{name} must be one of {', '.join(allowed)}, but got {value!r}")
        self._require(
            1 <= self.threads <= self.cores, f"threads must be in 1..{self.cores} (cores), but got {self.threads}"
        )
        unsourced = sorted(set(self.figures()) - set(self.sources))
        self._require(not unsourced, f"sources must name where each figure is from; missing: {unsourced}")

    @property
    def host_target(self) -> Mapping[str, object]:
        """The processor as TVM takes it (plain data)."""
        return {"kind": "llvm", "mtriple": _TRIPLES[self.isa], "mcpu": self.mcpu, "num-cores": self.threads}

    @property
    def tvm_target(self) -> Mapping[str, object]:
        """What runs the students, as TVM takes it (plain data): the processor, or the GPU with it as the host."""
        return self.host_target if self.gpu is None else {**self.gpu.target, "host": dict(self.host_target)}

    def peak(self, dtype: str = "float32") -> float:
        """Operations a second of all threads (or of the GPU); a multiply-add is two.

        A GPU is as fast as in float32 where it does not say. A processor where ``peaks`` does not say: clock,
        lanes, pipes; two float16 in a lane where it computes in them; four bytes in a lane with a dot product
        instruction, two with x86's multiply-add of pairs.
        """
        if self.gpu is not None:
            return float(self.gpu.peak.get(dtype, self.gpu.peak["float32"]))
        if dtype in self.peaks:
            return float(self.peaks[dtype])
        lanes = self.vector_bits // _FLOAT_BITS * self._parts(dtype)
        return self.threads * self.clock_ghz * 1e9 * lanes * self.vector_pipes * (2 if self.fma else 1)

    def figures(self) -> Iterator[str]:
        """Names of the figures that are known, a GPU's as ``gpu.<field>``: each has a source."""
        for entry in dataclasses.fields(self):
            if entry.name not in _UNSOURCED and getattr(self, entry.name) is not None:
                yield entry.name
        if self.gpu is not None:
            yield from (f"gpu.{entry.name}" for entry in dataclasses.fields(self.gpu))
        yield from (f"peaks.{dtype}" for dtype in self.peaks)

    def figure(self, name: str) -> object:
        """The figure of that name among ``figures``."""
        holder, _, part = name.rpartition(".")
        if holder == "peaks":
            return self.peaks[part]
        return getattr(self.gpu if holder else self, part)

    def with_threads(self, threads: int) -> Profile:
        """The same processor for students that use so many threads; ``ProfileError`` outside 1..cores."""
        return dataclasses.replace(self, threads=threads, sources={**self.sources, "threads": "asked for"})

    @property
    def in_half(self) -> bool:
        """Whether its students compute in float16: on a GPU that is faster in it than in float32."""
        return self.gpu is not None and self.peak("float16") > self.peak("float32")

    def in_single(self) -> Profile:
        """The same hardware for students that must keep float32."""
        assert self.gpu is not None
        peak = {"float32": self.gpu.peak["float32"]}
        return dataclasses.replace(self, gpu=dataclasses.replace(self.gpu, peak=peak))

    def on_board(self) -> Profile:
        """The same hardware, reached as a board that was named."""
        return dataclasses.replace(self, reach="board")

    def _parts(self, dtype: str) -> int:
        """How many numbers of the type are computed in a lane of 32 bits at once."""
        flags = set(self.features)
        if dtype == "int8":
            if flags & {"asimddp", "avx512_vnni", "avx_vnni"}:
                return 4
            return 2 if self.isa == "x86_64" else 1
        return 2 if dtype == "float16" and flags & {"asimdhp", "avx512_fp16"} else 1

    def _check_figures(self) -> None:
        try:
            for name in (*_COUNTS, "l3_bytes"):
                require_count(name, getattr(self, name), int(name != "l3_bytes"))
            for name in ("clock_ghz", "memory_bandwidth"):
                require_number(name, getattr(self, name))
            for name in ("idle_w", "active_w"):
                if getattr(self, name) is not None:
                    require_number(name, getattr(self, name))
            require_peak("peaks", self.peaks)
        except ProfileError as error:
            self._require(False, str(error))

    def _check_vectors(self) -> None:
        unlisted = sorted(features_of(self.mcpu) - set(self.features))
        self._require(
            not unlisted, f"features must hold all that code for {self.mcpu} may use; missing: {unlisted}"
        )
        fused = "asimd" if self.isa == "aarch64" else "fma"
        self._require(self.fma is (fused in self.features), f"fma must say whether features holds {fused!r}")
        bits = self.vector_bits
        self._require(bits in (128, 256, 512), f"vector_bits must be 128, 256 or 512, but got {bits!r}")

    def _require(self, holds: bool, what: str) -> None:
        if not holds:
            raise ProfileError(f"profile {self.name!r}: {what}")


def profile_names() -> tuple[str, ...]:
    """The names ``load_profile`` knows."""
    return (HOST, *sorted(path.stem for path in _DATA.glob(f"*{SUFFIX}")))


def load_profile(name: str) -> Profile:
    """The profile of that name: ``x86-host`` is this computer, the others are data files, also of your own.

    What ends in ``.toml`` is the path of a file. Raises ``ProfileError`` for an unknown name (with the nearest
    one), or when this computer is no x86-64 Linux.
    """
    if name == HOST:
        facts: Any = host_facts()
        return Profile(**facts)
    if name.endswith(SUFFIX):
        return read_profile(Path(name), host_flags())
    if name not in profile_names():
        raise ProfileError(f"{unknown_name('profile', name, profile_names())}, or a file FILE{SUFFIX}")
    return read_profile(_DATA / f"{name}{SUFFIX}", host_flags())


def read_profile(path: Path, flags: frozenset[str]) -> Profile:
    """The profile of a TOML file with the keys of ``Profile`` (but name, which is the file's, and reach).

    ``flags`` are this computer's: with all the features among them, the profile can be reached here.
    Raises ``ProfileError`` for an unknown key (with the nearest one), a missing one, or a wrong value.
    """
    facts: Any = read_facts(path, Profile, ("name", "reach"))
    gpu = read_facts(path, Gpu, (), facts["gpu"], "gpu.") if "gpu" in facts else None
    try:
        here = gpu is None and flags.issuperset(facts["features"])
        built: Any = {**facts, "features": tuple(facts["features"]), "gpu": gpu and Gpu(**gpu)}
        return Profile(name=path.stem, reach="host" if here else "none", **built)
    except ProfileError as error:
        raise ProfileError(f"{path}: {error}") from error
