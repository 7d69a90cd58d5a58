"""A figure with its unit, spread, number of repeats and where it came from."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from results.units import format_energy, format_size, format_time

Source = Literal["measured", "emulated", "predicted", "estimated"]
Unit = Literal["s", "byte", "share", "likelihood", "J"]
"""``likelihood`` is the geometric mean of the probabilities of what came, one over the perplexity."""


@dataclass(frozen=True)
class Metric:
    """What a named figure means: its unit, which direction is better, and its heading for people."""

    name: str
    unit: Unit
    maximise: bool
    heading: str


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", "share", True, "accuracy"),
        Metric("latency", "s", False, "latency"),
        Metric("first_token", "s", False, "time to first token"),
        Metric("size", "byte", False, "size"),
        Metric("memory", "byte", False, "peak memory"),
        Metric("energy", "J", False, "energy"),
    )
}
"""The metrics a search may optimise. ``accuracy`` is a share in 0..1 on the validation split; of students that go
on with texts ``latency`` is that of a token, and only they have a ``first_token``."""
NOT_MEASURED = "not measured: "
"""How the conditions of a prediction begin that stands for a measurement; the reason follows."""
HARDWARE = frozenset(METRICS) - {"accuracy"}
"""The metrics that depend on the hardware target."""


def metric_of(name: str) -> Metric:
    """The metric of a figure of the record; that of one target among several is named ``latency@rpi5``.

    >>> metric_of("latency@rpi5").heading
    'latency on rpi5'
    """
    metric, _, target = name.partition("@")
    found = METRICS[metric]
    return replace(found, name=name, heading=f"{found.heading} on {target}") if target else found


@dataclass(frozen=True)
class Measurement:
    """One figure.

    ``value`` is in ``unit`` (seconds, bytes, joules, a share or a likelihood in 0..1); ``low`` and ``high`` are
    the quartiles of the repeats (or the prediction interval); ``repeats`` is how many samples stand behind it;
    ``source`` is how it was obtained (``emulated``: timed on an emulator of the device, which says nothing of
    the device); ``conditions`` is what the device told of itself meanwhile.

    Raises ``ValueError`` when the value is not finite or the interval does not hold it.
    """

    value: float
    unit: Unit
    source: Source = "measured"
    low: float | None = None
    high: float | None = None
    repeats: int = 1
    conditions: str = ""

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise ValueError(f"a measurement must be finite, but got {self.value} {self.unit}")
        if (self.low is not None and self.low > self.value) or (self.high is not None and self.high < self.value):
            raise ValueError(f"the interval [{self.low}, {self.high}] must hold the value {self.value}")

    def to_json(self) -> dict[str, Any]:
        """Plain data, the inverse of ``from_json``."""
        return asdict(self)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Measurement:
        """The measurement written by ``to_json``."""
        return Measurement(**data)

    def __str__(self) -> str:
        return _FORMATS[self.unit](self.value)


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _perplexity(likelihood: float) -> str:
    return f"perplexity {1 / likelihood:.4g}" if likelihood > 0 else "perplexity infinite"


_FORMATS: Mapping[Unit, Callable[[float], str]] = {
    "s": format_time,
    "byte": format_size,
    "share": _percent,
    "likelihood": _perplexity,
    "J": format_energy,
}


def unit_of(metric: str) -> Unit:
    """The unit of what a task keeps as accuracy, by the name of its metric."""
    return "likelihood" if metric == "perplexity" else "share"


def noise_floor(figure: Measurement) -> float:
    """How far apart equal students may be measured: half the quartiles' distance as a share of the figure.

    >>> noise_floor(Measurement(2.0, "s", low=1.75, high=2.25))
    0.125
    """
    low = figure.value if figure.low is None else figure.low
    high = figure.value if figure.high is None else figure.high
    return (high - low) / 2 / figure.value if figure.value else 0.0


def hardware_figures(measurements: Mapping[str, Measurement]) -> dict[str, Measurement]:
    """Of a candidate's figures those that are its architecture's, however it is taught."""
    return {name: figure for name, figure in measurements.items() if name.partition("@")[0] in HARDWARE}
