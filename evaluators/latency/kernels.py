"""Where a network's time goes: its kernels against what the processor could do at best.

The bound is the roofline of Williams, Waterman and Patterson (2009): a kernel takes at least as long as its
arithmetic does at the processor's peak, and as long as its bytes take to move. What caches move is measured for
each of them, as in the cache-aware roofline of Ilic, Pratas and Sousa (2014), since kernels follow one another on
data that is still there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from evaluators.compile.kernel_times import Kernel, NetworkTimes
from hw_profiles.profile import Profile

FALLBACK = "fallback"
"""The rule that answers when no other does."""


@dataclass(frozen=True)
class Level:
    """A cache with all the threads' shares of it, or the memory: bytes that it holds, and moves a second."""

    capacity: float
    bandwidth: float


@dataclass(frozen=True)
class Roofline:
    """Float32 operations a second at the profile's clock, and the levels of memory, smallest first."""

    peak: float
    levels: tuple[Level, ...]

    def seconds(self, operations: float, size: float) -> float:
        """The least time of a kernel of so many operations on ``size`` bytes.

        >>> Roofline(100.0, (Level(10, 50.0), Level(1000, 5.0))).seconds(200, 20)
        4.0
        """
        level = next((each for each in self.levels if size <= each.capacity), self.levels[-1])
        return max(operations / self.peak, size / level.bandwidth)


@dataclass(frozen=True)
class KernelLine:
    """A kernel of a network: seconds of one call, share of the network's time, share of the roofline reached."""

    kernel: Kernel
    seconds: float
    share: float
    reached: float

    @property
    def covered(self) -> bool:
        """Whether a rule of ours scheduled it, and not the one that takes whatever is left."""
        return self.kernel.rule != FALLBACK


def measure_roofline(profile: Profile, bandwidth: Callable[[int, Profile], float]) -> Roofline:
    """The roofline of this computer; ``bandwidth`` measures bytes a second on so many bytes.

    Each cache is measured half full, the memory on four times what the caches hold.
    """
    caches = [profile.l1d_bytes * profile.threads, profile.l2_bytes * profile.threads, profile.l3_bytes]
    held = [size for size in caches if size]
    levels = [Level(size, bandwidth(size // 2, profile)) for size in held]
    return Roofline(profile.peak(), (*levels, Level(float("inf"), bandwidth(4 * max(held), profile))))


def kernel_lines(times: NetworkTimes, roofline: Roofline) -> list[KernelLine]:
    """The kernels of a network, the one that takes most of its time first."""
    lines = [
        KernelLine(
            kernel,
            seconds,
            kernel.calls * seconds / times.seconds,
            roofline.seconds(kernel.operations, kernel.bytes) / seconds,
        )
        for kernel, seconds in zip(times.kernels, times.kernel_seconds, strict=True)
    ]
    return sorted(lines, key=lambda line: -line.share)


def uncovered(lines: Sequence[KernelLine]) -> list[str]:
    """Names of kernels that no rule of ours covers."""
    return [line.kernel.name for line in lines if not line.covered]
