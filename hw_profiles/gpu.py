"""The GPU of a hardware target as data."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from understudy import ProfileError, unknown_name

DTYPES = ("float32", "float16", "int8")
"""The types of numbers that a profile gives peak arithmetic for."""

_COUNTS = ("multiprocessors", "shared_bytes", "registers", "l2_bytes")


@dataclass(frozen=True)
class Gpu:
    """An NVIDIA GPU; sizes in bytes, clock in GHz.

    ``arch`` is the compute capability as compilers name it (``sm_87``). A block of threads may hold
    ``shared_bytes`` of shared memory and ``registers`` (32 bits each). ``peak`` is dense arithmetic by dtype in
    operations a second (a multiply-add is two), on tensor cores where the dtype has them. ``toolkit`` says which
    CUDA builds for it and which the device runs.

    Raises ``ProfileError`` when a field is out of range.
    """

    arch: str
    multiprocessors: int
    clock_ghz: float
    shared_bytes: int
    registers: int
    l2_bytes: int
    toolkit: str
    peak: Mapping[str, float] = field(hash=False)

    def __post_init__(self) -> None:
        if not isinstance(self.arch, str) or not re.fullmatch(r"sm_\d+", self.arch):
            raise ProfileError(f"gpu.arch must be like sm_87, but got {self.arch!r}")
        if not isinstance(self.toolkit, str):
            raise ProfileError(f"gpu.toolkit must be text, but got {self.toolkit!r}")
        for name in _COUNTS:
            require_count(f"gpu.{name}", getattr(self, name), 1)
        require_number("gpu.clock_ghz", self.clock_ghz)
        require_peak("gpu.peak", self.peak)
        if "float32" not in self.peak:
            raise ProfileError("gpu.peak must give float32")

    @property
    def target(self) -> dict[str, object]:
        """The GPU as TVM takes it, but for its host."""
        return {
            "kind": "cuda",
            "arch": self.arch,
            "max_threads_per_block": 1024,
            "thread_warp_size": 32,
            "max_shared_memory_per_block": self.shared_bytes,
            "registers_per_block": self.registers,
        }


def require_count(name: str, value: object, least: int) -> None:
    """``ProfileError`` unless ``value`` is a whole number of at least ``least``."""
    if type(value) is not int or value < least:
        raise ProfileError(f"{name} must be a whole number of at least {least}, but got {value!r}")


def require_number(name: str, value: object) -> None:
    """``ProfileError`` unless ``value`` is a finite number above 0."""
    if type(value) not in (int, float) or not 0 < float(str(value)) < math.inf:
        raise ProfileError(f"{name} must be a number above 0, but got {value!r}")


def require_peak(name: str, value: object) -> None:
    """``ProfileError`` unless ``value`` maps known dtypes to operations a second."""
    if not isinstance(value, Mapping):
        raise ProfileError(f"{name} must be a table of dtype = operations a second, but got {value!r}")
    for dtype, rate in value.items():
        if dtype not in DTYPES:
            raise ProfileError(f"{name}: {unknown_name('dtype', dtype, DTYPES)}")
        require_number(f"{name}.{dtype}", rate)
