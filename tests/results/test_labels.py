"""Labels of neighbouring students, and of the budget, where they can be read."""

from __future__ import annotations

from dataclasses import replace

from results.report.labels import label_sides
from results.report.series import FrontSeries, Spot


def series(*places: tuple[float, float]) -> FrontSeries:
    far = Spot("c0", "done", 10.0, 20.0, 10.0, 10.0)
    spots = [Spot(f"s{number}", "student", x, y, x, x) for number, (x, y) in enumerate(places)]
    return FrontSeries("latency", "ms", (far, *spots), None, None, "", "accuracy")


def test_a_label_stands_above_where_nothing_is_near():
    assert label_sides(series((1.0, 90.0), (5.0, 40.0))) == {"s0": "above", "s1": "above"}


def test_neighbours_have_their_labels_on_different_sides():
    sides = label_sides(series((1.0, 90.0), (1.02, 90.0), (1.01, 87.0)))
    assert len(set(sides.values())) == 3


def test_what_is_written_of_a_far_limit_stands_on_its_left():
    found = series((1.0, 90.0))
    assert not found.limit_is_far
    assert not replace(found, limit=2.0).limit_is_far
    assert replace(found, limit=12.0).limit_is_far
