"""A hardware target of a search: its profile, what measures there, what must hold there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from evaluators.compile.tune.search import Tuner
from evaluators.device import Device
from evaluators.latency.predict.predictor import Predictor
from hw_profiles.profile import Profile
from results.goals import Goal


@dataclass(frozen=True)
class Target:
    """One target of a search: latencies are measured on ``device``, or predicted where nothing at hand is one.

    ``tuner``, where there is one, measures kernels before a candidate is compiled. ``fallback`` makes the
    predictor that a lost device is replaced by; without one, losing it is a ``DeviceLost``.
    """

    profile: Profile
    device: Device | Predictor
    goal: Goal
    tuner: Tuner | None = None
    fallback: Callable[[], Predictor] | None = None

    def close(self) -> None:
        """Give back the device."""
        if not isinstance(self.device, Predictor):
            self.device.close()
