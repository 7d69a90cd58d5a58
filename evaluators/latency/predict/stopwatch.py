"""What times a compiled network and its kernels for the latency model: this computer, or boards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np

from evaluators.boards.device import BoardDevice
from evaluators.compile.compiler import Compiled
from evaluators.compile.kernel_times import Kernel, link_alone, time_kernels
from evaluators.latency.others import ALONE, watch_others
from hw_profiles.profile import Profile
from results.bundle.runner import Array, CompiledStudent, measure_latency
from understudy import MeasureError

_TRIES = 4


class Stopwatch(Protocol):
    """Times networks of one profile."""

    def times(self, scheduled: Any, compiled: Compiled, kernels: Sequence[Kernel]) -> tuple[float, list[float]]:
        """Seconds of a call of the network, and of some of its kernels as ``scheduled`` holds them.

        Raises ``MeasureError`` when they cannot be timed.
        """
        ...


class HostStopwatch:
    """This computer, inside ``alone``; what other processes disturbed is timed again, the shortest counts."""

    def __init__(self, profile: Profile, alone: Callable[[], AbstractContextManager[None]]) -> None:
        if profile.reach != "host":
            raise MeasureError(
                f"students for {profile.name} cannot run here: name a board with --board TRACKER:KEY, or "
                "calibrate on a computer that the profile describes"
            )
        self._profile, self._alone = profile, alone

    def times(self, scheduled: Any, compiled: Compiled, kernels: Sequence[Kernel]) -> tuple[float, list[float]]:
        """See ``Stopwatch.times``."""
        student = CompiledStudent(compiled.library, self._profile.threads)
        inputs = _zeros(compiled)
        whole, seconds = float("inf"), [float("inf")] * len(kernels)
        for _ in range(_TRIES):
            with self._alone(), watch_others() as others:
                again = measure_latency(student, inputs)["median_s"]
                each = time_kernels(compiled.library, list(kernels))
            whole, seconds = min(whole, again), list(map(min, seconds, each))
            if others.cores <= ALONE:
                break
        return whole, seconds


class BoardStopwatch:
    """Whichever board of a device is free."""

    def __init__(self, device: BoardDevice) -> None:
        if device.address.emulated:
            raise MeasureError(
                f"the boards of {device.address} are emulated: their times say nothing of a device, so name a "
                "real board"
            )
        if device.profile.gpu is not None:
            raise MeasureError(
                f"latencies on the GPU of {device.profile.name} are not learnt: measure them instead"
            )
        self._device = device

    def times(self, scheduled: Any, compiled: Compiled, kernels: Sequence[Kernel]) -> tuple[float, list[float]]:
        """See ``Stopwatch.times``; raises ``DeviceLost`` when there is no board."""
        library = compiled.library.with_name("kernels.so")
        if kernels:
            link_alone(scheduled, kernels, self._device.profile, library)
        return self._device.time_kernels(compiled.library, _zeros(compiled), library, kernels)


def _zeros(compiled: Compiled) -> tuple[Array, ...]:
    return tuple(np.zeros(spec.shape, spec.dtype) for spec in compiled.inputs)
