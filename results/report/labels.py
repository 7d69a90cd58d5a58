"""Where the labels of the students stand, so that neighbours do not cover each other."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from results.report.series import FrontSeries

Side = Literal["above", "below", "right", "left"]

_WIDTH, _HEIGHT = 0.042, 0.036
"""Of a label, as shares of the figure's."""
_MARKER = 0.5
"""Of a label's width, how near the middle of a marker may come."""
_AWAY: Mapping[Side, tuple[float, float]] = {
    "above": (0.0, 0.038),
    "below": (0.0, -0.038),
    "right": (0.03, 0.0),
    "left": (-0.03, 0.0),
}
"""From the middle of a marker to that of its label."""


def label_sides(series: FrontSeries) -> dict[str, Side]:
    """By label of a student, the first side on which it covers no other student and no label before it."""
    low, high = map(math.log, series.cost_range())
    bottom, top = series.accuracy_range()
    places = {
        spot.label: ((math.log(spot.x) - low) / (high - low), (spot.y - bottom) / (top - bottom))
        for spot in series.of("student", "fallen")
        if spot.y is not None and spot.x > 0
    }
    taken: list[tuple[float, float]] = []
    sides: dict[str, Side] = {}
    for label, (x, y) in places.items():
        others = [place for name, place in places.items() if name != label]
        free = (
            side
            for side, (right, up) in _AWAY.items()
            if not any(_covers((x + right, y + up), other, _WIDTH) for other in taken)
            and not any(_covers((x + right, y + up), other, _MARKER * _WIDTH) for other in others)
        )
        sides[label] = next(free, "above")
        right, up = _AWAY[sides[label]]
        taken.append((x + right, y + up))
    return sides


def _covers(label: tuple[float, float], other: tuple[float, float], width: float) -> bool:
    return abs(label[0] - other[0]) < width and abs(label[1] - other[1]) < _HEIGHT
