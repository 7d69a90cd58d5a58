"""The volume that points dominate, exactly, in any number of dimensions; lower is better in all of them."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from operator import le, lt

Point = tuple[float, ...]


def hypervolume(points: Iterable[Sequence[float]], reference: Sequence[float]) -> float:
    """The volume that the points dominate, up to a reference point.

    Points that do not lie below the reference in every coordinate add nothing. Sliced along the last coordinate,
    where each point widens the slice by what it alone dominates, which is worked out from its limit set (While,
    Bradstreet and Barone, "A fast way of calculating exact hypervolumes", IEEE TEC 16(1), 2012); two dimensions
    are a staircase. Raises ``ValueError`` for points of another length than the reference.
    """
    end = tuple(reference)
    return _volume([point for point in _checked(points, end) if _below(point, end)], end)


def exclusive_volume(
    point: Sequence[float], others: Iterable[Sequence[float]], reference: Sequence[float]
) -> float:
    """What ``point`` adds to the hypervolume of the others; as ``hypervolume`` otherwise."""
    end = tuple(reference)
    (own,) = _checked([point], end)
    if not _below(own, end):
        return 0.0
    return _exclusive(own, [other for other in _checked(others, end) if _below(other, end)], end)


def undominated(points: Iterable[Point]) -> list[Point]:
    """The points that no other dominates, each once, in rising order."""
    kept: list[Point] = []
    for point in sorted(set(points)):  # whatever dominates a point sorts before it
        if not any(dominates(other, point) for other in kept):
            kept.append(point)
    return kept


def dominates(point: Point, other: Point) -> bool:
    """Whether a point is at least as good as another in every coordinate; equal points dominate each other."""
    return all(map(le, point, other))


def _checked(points: Iterable[Sequence[float]], reference: Point) -> set[Point]:
    found = {tuple(point) for point in points}
    for point in found:
        if len(point) != len(reference):
            raise ValueError(
                f"points must have {len(reference)} coordinates as the reference has, but got {point}"
            )
    return found


def _below(point: Point, reference: Point) -> bool:
    return all(map(lt, point, reference))


def _volume(points: Iterable[Point], reference: Point) -> float:
    """The volume of points below the reference."""
    if len(reference) == 1:
        return reference[0] - min((point[0] for point in points), default=reference[0])
    if len(reference) == 2:
        return sum(map(_staircase(reference), points))
    add = _grower(reference[:-1])
    ordered = sorted(points, key=lambda point: point[-1])
    ends = [*(point[-1] for point in ordered[1:]), reference[-1]]
    slice_volume = total = 0.0
    for point, end in zip(ordered, ends, strict=False):
        slice_volume += add(point[:-1])
        total += slice_volume * (end - point[-1])
    return total


def _exclusive(point: Point, others: Iterable[Point], reference: Point) -> float:
    whole = math.prod(end - value for value, end in zip(point, reference, strict=True))
    limits = {tuple(map(max, point, other)) for other in others}
    return max(whole - _volume(limits, reference), 0.0)


def _grower(reference: Point) -> Callable[[Point], float]:
    """A function that takes point after point and says by how much each makes their volume grow."""
    if len(reference) == 2:
        return _staircase(reference)
    before: list[Point] = []

    def add(point: Point) -> float:
        gained = _exclusive(point, before, reference)
        before.append(point)
        return gained

    return add


def _staircase(reference: Point) -> Callable[[Point], float]:
    """As ``_grower``, in two dimensions: the edge of what is dominated, kept as steps down to the right."""
    xs: list[float] = []
    ys: list[float] = []

    def add(point: Point) -> float:
        x, y = point
        first = last = bisect_left(xs, x)
        left, top, gained = x, ys[first - 1] if first else reference[1], 0.0
        if top <= y:
            return 0.0
        while last < len(xs) and ys[last] >= y:
            gained += (xs[last] - left) * (top - y)
            left, top, last = xs[last], ys[last], last + 1
        gained += ((xs[last] if last < len(xs) else reference[0]) - left) * (top - y)
        xs[first:last], ys[first:last] = [x], [y]
        return gained

    return add
