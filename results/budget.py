"""Hard limits on measurements: the hardware budget of a search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from results.measurement import METRICS, Measurement


@dataclass(frozen=True)
class Budget:
    """Upper limits by metric, all hard at once.

    ``latency`` and ``first_token`` in seconds, ``size`` and ``memory`` in bytes, ``energy`` in joules.

    Raises ``ValueError`` for a limit on something that is not minimised or is not positive.
    """

    limits: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, limit in self.limits.items():
            if name not in METRICS or METRICS[name].maximise:
                raise ValueError(f"a budget limits latency, first_token, size, memory or energy, but got {name!r}")
            if limit <= 0:
                raise ValueError(f"the limit on {name} must be above 0, but got {limit}")

    def excess(self, measurements: Mapping[str, Measurement]) -> dict[str, float]:
        """How far each limited figure is over its limit, relative to it (at or below 0: within).

        A figure that was not measured is left out.
        """
        return {
            name: measurements[name].value / limit - 1
            for name, limit in self.limits.items()
            if name in measurements
        }

    def violation(self, measurements: Mapping[str, Measurement]) -> str | None:
        """The broken limits with figure and limit in one clause, or None within the budget."""
        broken = [
            f"{METRICS[name].heading} {measurements[name]} over the limit of "
            f"{Measurement(self.limits[name], METRICS[name].unit)}"
            for name, excess in self.excess(measurements).items()
            if excess > 0
        ]
        return "; ".join(broken) or None
