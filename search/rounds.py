"""Compiled networks measured one after the other and round by round, once nothing else is at work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from results.bundle.runner import Inputs
from results.measurement import Measurement
from understudy import DeviceLost, MeasureError

if TYPE_CHECKING:
    from evaluators.device import Device

ROUNDS = 3


@dataclass(frozen=True)
class Entrant:
    """What is measured: its name in a sentence, its library and what it is called with."""

    name: str
    library: Path
    inputs: Inputs


def measured_in_rounds(
    entrants: Sequence[Entrant], device: Device, note: Callable[[str], None]
) -> list[Measurement | None]:
    """The latency of each, pooled over its rounds; None where there was none. What fails is noted, once each.

    An entrant's rounds lie apart in time, and all of a round are measured in the same minute: a moment's
    disturbance widens the interval of an entrant instead of deciding its fate, and drift bends no comparison.
    """
    from evaluators.latency.host import pooled

    rounds: list[list[Measurement]] = [[] for _ in entrants]
    failures: dict[str, MeasureError] = {}
    try:
        for _ in range(ROUNDS):
            for entrant, found in zip(entrants, rounds, strict=True):
                try:
                    found.append(device.measure(entrant.library, entrant.inputs))
                except DeviceLost:
                    raise
                except MeasureError as error:
                    failures[entrant.name] = error
    except DeviceLost as error:
        note(f"what was not yet measured again keeps its first latency: {error}")
    for entrant, found in zip(entrants, rounds, strict=True):
        if entrant.name in failures:
            left = f"{len(found)} of {ROUNDS} rounds count" if found else "its first latency stands"
            note(f"{entrant.name} could not be measured again, {left}: {failures[entrant.name]}")
    return [pooled(each) if each else None for each in rounds]
