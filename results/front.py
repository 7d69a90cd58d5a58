"""Which candidates no other beats, and how much of what is possible they have won."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from results.budget import Budget
from results.candidate import Candidate
from results.hypervolume import Point, dominates, exclusive_volume, hypervolume, undominated
from results.measurement import METRICS


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
    return [first[point] for point in undominated(list(first))]


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


def hypervolume_of(candidates: Iterable[Candidate], objectives: Sequence[str], budget: Budget) -> float:
    """The hypervolume of the candidates' front as a share of all that could be won.

    Every coordinate is divided by its range up to ``reference_point`` (accuracy by 1): 0 without a candidate
    that counts, 1 for a perfect student that costs nothing.
    """
    counting = eligible(candidates, objectives, budget)
    reference = reference_point(counting, objectives, budget)
    front = pareto_front(counting, objectives, budget)
    return hypervolume([_scaled(candidate, objectives, reference) for candidate in front], _ones(objectives))


def hypervolume_over_time(
    candidates: Iterable[Candidate], objectives: Sequence[str], budget: Budget
) -> list[float]:
    """The hypervolume after each candidate, in the order of ``by_finish``; the last is ``hypervolume_of`` all.

    All are measured from the one ``reference_point`` of all candidates, so that the figure can only grow.
    """
    ordered = by_finish(candidates)
    reference = reference_point(ordered, objectives, budget)
    counting = {candidate.number for candidate in eligible(ordered, objectives, budget)}
    front: list[Point] = []
    volume, volumes = 0.0, []
    for candidate in ordered:
        if candidate.number in counting:
            point = _scaled(candidate, objectives, reference)
            if not any(dominates(other, point) for other in front):
                volume += exclusive_volume(point, front, _ones(objectives))
                front = [other for other in front if not dominates(point, other)] + [point]
        volumes.append(volume)
    return volumes


def scaled_points(candidates: Iterable[Candidate], objectives: Sequence[str], budget: Budget) -> dict[int, Point]:
    """By number the points of the candidates that count, scaled as in ``hypervolume_of``."""
    counting = eligible(candidates, objectives, budget)
    reference = reference_point(counting, objectives, budget)
    return {candidate.number: _scaled(candidate, objectives, reference) for candidate in counting}


def by_finish(candidates: Iterable[Candidate]) -> list[Candidate]:
    """The candidates in the order in which they finished."""
    return sorted(candidates, key=lambda candidate: (candidate.elapsed, candidate.number))


def _scaled(candidate: Candidate, objectives: Sequence[str], reference: Point) -> Point:
    figures = [candidate.measurements[name].value for name in objectives]
    return tuple(
        1 - figure if METRICS[name].maximise else figure / end
        for name, figure, end in zip(objectives, figures, reference, strict=True)
    )


def _ones(objectives: Sequence[str]) -> Point:
    return (1.0,) * len(objectives)
