"""A hardware target as data: its facts with their sources, its TVM target, how to reach it."""

from __future__ import annotations

import dataclasses
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from hw_profiles.cpu_names import features_of, mcpu_names
from hw_profiles.host import HOST, host_facts, host_flags
from understudy import ProfileError, unknown_name

Reach = Literal["host", "none"]
_DATA = Path(__file__).parent / "data"
_TRIPLES = {"x86_64": "x86_64-linux-gnu", "aarch64": "aarch64-linux-gnu"}
_COUNTS = ("vector_bits", "vector_registers", "cores", "threads", "l1d_bytes", "l2_bytes", "memory_bytes")


@dataclass(frozen=True)
class Profile:
    """A processor that students run on; sizes in bytes, clock in GHz.

    ``mcpu`` is LLVM's name of it and ``features`` the flags (names of /proc/cpuinfo) that code compiled for it
    may use: a machine that lacks one of them kills such code. ``vector_registers`` of ``vector_bits`` each
    are what a kernel can hold. ``cores`` are physical ones, of which a student uses ``threads``. ``l1d_bytes``
    and ``l2_bytes`` are one core's, ``l3_bytes`` (0 without one) and ``memory_bytes`` are shared. ``reach`` is
    ``host`` when this computer can run its students, ``none`` when they can only be compiled. ``sources``
    says where each figure is from.

    Raises ``ProfileError`` when a field is out of range or contradicts another, or a figure has no source.
    """

    name: str
    description: str
    isa: str
    mcpu: str
    features: tuple[str, ...]
    vector_bits: int
    vector_registers: int
    fma: bool
    cores: int
    threads: int
    l1d_bytes: int
    l2_bytes: int
    l3_bytes: int
    memory_bytes: int
    clock_ghz: float
    reach: Reach = "host"
    sources: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        self._require(self.isa in _TRIPLES, f"isa must be x86_64 or aarch64, but got {self.isa!r}")
        known = mcpu_names(self.isa)
        self._require(self.mcpu in known, unknown_name("mcpu", self.mcpu, known))
        unlisted = sorted(features_of(self.mcpu) - set(self.features))
        self._require(
            not unlisted, f"features must hold all that code for {self.mcpu} may use; missing: {unlisted}"
        )
        self._require(self.reach in get_args(Reach), f"reach must be host or none, but got {self.reach!r}")
        for name in (*_COUNTS, "l3_bytes"):
            value, least = getattr(self, name), int(name != "l3_bytes")
            valid = type(value) is int and value >= least
            self._require(valid, f"{name} must be a whole number of at least {least}, but got {value!r}")
        valid = isinstance(self.clock_ghz, float | int) and 0 < self.clock_ghz < math.inf
        self._require(valid, f"clock_ghz must be a number above 0, but got {self.clock_ghz!r}")
        fused = "asimd" if self.isa == "aarch64" else "fma"
        self._require(self.fma == (fused in self.features), f"fma must say whether features holds {fused!r}")
        self._require(
            self.vector_bits in (128, 256, 512), f"vector_bits must be 128, 256 or 512, but got {self.vector_bits}"
        )
        self._require(
            1 <= self.threads <= self.cores, f"threads must be in 1..{self.cores} (cores), but got {self.threads}"
        )
        unsourced = [name for name in (*_COUNTS, "l3_bytes", "clock_ghz", "mcpu") if name not in self.sources]
        self._require(not unsourced, f"sources must name where each figure is from; missing: {unsourced}")

    @property
    def tvm_target(self) -> Mapping[str, object]:
        """The target as TVM takes it (plain data)."""
        return {"kind": "llvm", "mtriple": _TRIPLES[self.isa], "mcpu": self.mcpu, "num-cores": self.threads}

    def with_threads(self, threads: int) -> Profile:
        """The same processor for students that use so many threads; ``ProfileError`` outside 1..cores."""
        return dataclasses.replace(self, threads=threads, sources={**self.sources, "threads": "asked for"})

    def _require(self, holds: bool, what: str) -> None:
        if not holds:
            raise ProfileError(f"profile {self.name!r}: {what}")


def profile_names() -> tuple[str, ...]:
    """The names ``load_profile`` knows."""
    return (HOST, *sorted(path.stem for path in _DATA.glob("*.toml")))


def load_profile(name: str) -> Profile:
    """The profile of that name: ``x86-host`` is this computer, the others are data files.

    Raises ``ProfileError`` for an unknown name (with the nearest one), or when this computer is no x86-64 Linux.
    """
    if name == HOST:
        facts: Any = host_facts()
        return Profile(**facts)
    if name not in profile_names():
        raise ProfileError(unknown_name("profile", name, profile_names()))
    return read_profile(_DATA / f"{name}.toml", host_flags())


def read_profile(path: Path, flags: frozenset[str]) -> Profile:
    """The profile of a TOML file with the keys of ``Profile`` (but name, which is the file's, and reach).

    ``flags`` are this computer's: with all the features among them, the profile can be reached here.
    Raises ``ProfileError`` for an unknown key (with the nearest one), a missing one, or a wrong value.
    """
    try:
        data = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProfileError(f"cannot read the profile {path} ({error}): mend or replace the file") from error
    _check_keys(path, data)
    features = tuple(data.pop("features"))
    reach: Reach = "host" if flags.issuperset(features) else "none"
    return Profile(name=path.stem, features=features, reach=reach, **data)


def _check_keys(path: Path, data: Mapping[str, object]) -> None:
    keys = {entry.name: entry for entry in dataclasses.fields(Profile) if entry.name not in ("name", "reach")}
    for key in data:
        if key not in keys:
            raise ProfileError(f"{path}: {unknown_name('key', key, keys)}")
    missing = sorted(keys.keys() - data.keys())
    if missing:
        raise ProfileError(f"{path} must give {', '.join(missing)}: add the missing keys")
    features, sources = data["features"], data["sources"]
    if not isinstance(features, list) or not all(isinstance(feature, str) for feature in features):
        raise ProfileError(f"{path}: features must be a list of flag names, but got {features!r}")
    if not isinstance(sources, dict):
        raise ProfileError(f"{path}: sources must be a table of field = where it is from, but got {sources!r}")
