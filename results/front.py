"""Which candidates no other beats, and how much of what is possible they have won."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from results.budget import Budget
from results.candidate import Candidate
from results.measurement import METRICS

Point = tuple[float, ...]


def pareto_front(candidates: Iterable[Candidate], objectives: Sequence[str], budget: Budget) -> list[Candidate]:
    """The done candidates within the budget that no other such candidate dominates.

    One dominates another when it is at least as good in every objective (names of ``METRICS``, which know
    their direction) and better in one. Of candidates with equal figures the first proposed is kept, and a
    candidate that lacks a figure of an objective is left out. Best in the first objective comes first.
    """
    valid = sorted(eligible(candidates, objectives, budget), key=lambda candidate: candidate.number)
    points = {candidate.number: minimised(candidate, objectives) for candidate in valid}
    first: dict[Point, Candidate] = {}
    for candidate in valid:
        first.setdefault(points[candidate.number], candidate)
    return [first[point] for point in _undominated(list(first))]


def eligible(candidates: Iterable[Candidate], objectives: Sequence[str], budget: Budget) -> list[Candidate]:
    """The candidates that count: done, within the budget, with a figure for every objective."""
    return [
        candidate
        for candidate in candidates
        if candidate.state == "done"
        and all(name in candidate.measurements for name in objectives)
        and budget.violation(candidate.measurements) is None
    ]


def minimised(candidate: Candidate, objectives: Sequence[str]) -> Point:
    """The candidate's figures by objective, turned so that lower is better."""
    return tuple(
        -candidate.measurements[name].value if METRICS[name].maximise else candidate.measurements[name].value
        for name in objectives
    )


def hypervolume(points: Iterable[Sequence[float]], reference: Sequence[float]) -> float:
    """The volume that minimised points dominate, up to a reference point; exact in any number of dimensions.

    Points that do not lie below the reference in every coordinate add nothing. Sliced along the last
    coordinate, one dimension less a slice (Zitzler's hypervolume by slicing objectives, as in While et al.,
    "A faster algorithm for calculating hypervolume", IEEE TEC 10(1), 2006). Raises ``ValueError`` for points
    of another length than the reference.
    """
    found = {tuple(point) for point in points}
    for point in found:
        if len(point) != len(reference):
            raise ValueError(
                f"points must have {len(reference)} coordinates as the reference has, but got {point}"
            )
    inside = [point for point in found if all(value < end for value, end in zip(point, reference, strict=True))]
    return _slices(_undominated(inside), tuple(reference)) if inside else 0.0


def reference_point(candidates: Iterable[Candidate], objectives: Sequence[str], budget: Budget) -> Point:
    """What the hypervolume is measured from, in the units of the objectives.

    0 for accuracy; for what is minimised the budget's limit, or without one 1.1 times the worst figure of
    the candidates that count (1.0 when there are none).
    """
    valid = eligible(candidates, objectives, budget)

    def worst(name: str) -> float:
        if METRICS[name].maximise:
            return 0.0
        seen = max((candidate.measurements[name].value for candidate in valid), default=1 / 1.1)
        return budget.limits.get(name, 1.1 * seen) or 1.0

    return tuple(worst(name) for name in objectives)


def hypervolume_over_time(
    candidates: Iterable[Candidate], objectives: Sequence[str], budget: Budget
) -> list[float]:
    """The hypervolume after each candidate, in the order of ``by_finish``.

    Every coordinate is divided by its range up to ``reference_point`` (accuracy by 1), so that the figure is
    the share of all that could be won: 0 at the start, 1 for a perfect student that costs nothing. It can
    only grow.
    """
    ordered = by_finish(candidates)
    reference = reference_point(ordered, objectives, budget)
    counting = {candidate.number for candidate in eligible(ordered, objectives, budget)}
    front: list[Point] = []
    volumes = []
    for candidate in ordered:
        if candidate.number in counting:
            front = _undominated([*front, _scaled(candidate, objectives, reference)])
        volumes.append(hypervolume(front, (1.0,) * len(objectives)))
    return volumes


def hypervolume_contributions(
    front: Sequence[Candidate], objectives: Sequence[str], budget: Budget
) -> list[float]:
    """What the front's hypervolume (scaled as in ``hypervolume_over_time``) would lose with each candidate."""
    reference = reference_point(front, objectives, budget)
    points = [_scaled(candidate, objectives, reference) for candidate in front]
    ones = (1.0,) * len(objectives)
    whole = hypervolume(points, ones)
    return [whole - hypervolume(points[:index] + points[index + 1 :], ones) for index in range(len(points))]


def by_finish(candidates: Iterable[Candidate]) -> list[Candidate]:
    """The candidates in the order in which they finished."""
    return sorted(candidates, key=lambda candidate: (candidate.elapsed, candidate.number))


def _scaled(candidate: Candidate, objectives: Sequence[str], reference: Point) -> Point:
    figures = [candidate.measurements[name].value for name in objectives]
    return tuple(
        1 - figure if METRICS[name].maximise else figure / end
        for name, figure, end in zip(objectives, figures, reference, strict=True)
    )


def _slices(points: list[Point], reference: Point) -> float:
    """The volume of points below the reference, sorted or not."""
    if len(reference) == 1:
        return reference[0] - min(point[0] for point in points)
    ordered = sorted(points, key=lambda point: point[-1])
    ends = [point[-1] for point in ordered[1:]] + [reference[-1]]
    total = 0.0
    for index, (point, end) in enumerate(zip(ordered, ends, strict=True)):
        if end > point[-1]:
            below = _undominated([other[:-1] for other in ordered[: index + 1]])
            total += (end - point[-1]) * _slices(below, reference[:-1])
    return total


def _undominated(points: list[Point]) -> list[Point]:
    """The points that no other dominates (lower is better), each once, in rising order."""
    kept: list[Point] = []
    for point in sorted(set(points)):  # whatever dominates a point sorts before it
        if not any(all(a <= b for a, b in zip(other, point, strict=True)) for other in kept):
            kept.append(point)
    return kept
