"""What the figures show, as plain tuples: worked out from a run, drawn elsewhere."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from results.candidate import Candidate, Student
from results.front import by_finish, hypervolume_over_time
from results.measurement import METRICS, Measurement
from results.view import RunView

Kind = Literal["front", "done", "pruned", "infeasible", "failed", "student", "fallen", "teacher"]

_SCALES: Mapping[str, tuple[float, str]] = {
    "s": (1e3, "ms"),
    "byte": (1e-6, "MB"),
    "share": (100.0, "%"),
    "likelihood": (100.0, "%"),
    "J": (1e3, "mJ"),
}


@dataclass(frozen=True)
class Spot:
    """One marker of the front's figure: ``x`` a cost in display units (ms, MB), ``y`` accuracy in per cent.

    ``y`` is None for what was never scored. ``low`` and ``high`` are the quartiles of ``x``; ``label`` names
    the architecture; ``before`` is where the search had a finalist.
    """

    label: str
    kind: Kind
    x: float
    y: float | None
    low: float
    high: float
    before: tuple[float, float] | None = None


@dataclass(frozen=True)
class FrontSeries:
    """The front against the budget; ``limit`` in display units; ``teacher`` its accuracy in per cent.

    ``height`` is the heading of the accuracy axis.
    """

    cost: str
    unit: str
    spots: tuple[Spot, ...]
    limit: float | None
    teacher: float | None
    teacher_name: str
    height: str

    @property
    def title(self) -> str:
        """The heading of the cost axis."""
        return f"{METRICS[self.cost].heading} ({self.unit})"

    def of(self, *kinds: Kind) -> list[Spot]:
        """The spots of some kinds, cheapest first."""
        return sorted((spot for spot in self.spots if spot.kind in kinds), key=lambda spot: spot.x)

    @property
    def limit_is_far(self) -> bool:
        """Whether the budget's limit stands so far right that what is written beside it stands on its left."""
        low, high = self.cost_range()
        return self.limit is not None and math.log(self.limit / low) > 0.8 * math.log(high / low)

    def cost_range(self) -> tuple[float, float]:
        """Ends of the cost axis, with room on both sides."""
        seen = [value for spot in self.spots for value in (spot.x, spot.low, spot.high) if value > 0]
        seen += [] if self.limit is None else [self.limit]
        low, high = min(seen, default=1.0), max(seen, default=1.0)
        return low / 1.25, high * 1.35

    def accuracy_range(self) -> tuple[float, float]:
        """Ends of the accuracy axis; a spot or two far below the rest do not squeeze it."""
        seen = sorted(spot.y for spot in self.spots if spot.y is not None)
        seen += [] if self.teacher is None else [self.teacher]
        if not seen:
            return 0.0, 100.0
        low, high = min(seen), max(seen)
        room = max(0.08 * (high - low), 0.5)
        return max(low - room, -2.0), min(high + 1.5 * room, 102.0)


@dataclass(frozen=True)
class ProgressSeries:
    """The hypervolume (0..1) after each candidate: how many had finished, and hours of search by then."""

    counts: tuple[int, ...]
    hours: tuple[float, ...]
    volumes: tuple[float, ...]


def accuracy_title(view: RunView, split: str) -> str:
    """The heading of an axis of accuracies; a perplexity is drawn so that up is better, too."""
    return f"{'1 / perplexity' if view.metric == 'perplexity' else view.metric} (%, {split})"


def front_series(view: RunView) -> FrontSeries:
    """The front's figure of a run: accuracy against the first cost among the objectives."""
    cost = next((name for name in view.objectives if not METRICS[name].maximise), "latency")
    scale, unit = _SCALES[METRICS[cost].unit]
    on_front = {candidate.number for candidate in view.front}
    spots = [_candidate_spot(each, cost, each.number in on_front) for each in view.candidates]
    spots += [_student_spot(student, cost) for student in view.students]
    teacher, accuracy, spot = view.teacher, None, None
    if teacher is not None:
        accuracy = teacher.val_accuracy or teacher.accuracy
        figures = {"latency": teacher.latency, "size": teacher.size}
        spot = _spot(teacher.name, "teacher", figures.get(cost), accuracy, scale)
    limit = view.budget.limits.get(cost)
    return FrontSeries(
        cost=cost,
        unit=unit,
        spots=tuple(each for each in [*spots, spot] if each is not None),
        limit=None if limit is None else limit * scale,
        teacher=None if accuracy is None else 100 * accuracy.value,
        teacher_name="" if teacher is None else teacher.name,
        height=accuracy_title(view, "validation"),
    )


def progress_series(view: RunView) -> ProgressSeries:
    """The hypervolume over the search, one step a candidate."""
    volumes = hypervolume_over_time(view.candidates, view.objectives, view.budget)
    hours = tuple(candidate.elapsed / 3600 for candidate in by_finish(view.candidates))
    return ProgressSeries(tuple(range(1, len(volumes) + 1)), hours, tuple(volumes))


def display(figure: Measurement) -> float:
    """The value in the unit people read: ms, MB or per cent."""
    return figure.value * _SCALES[figure.unit][0]


def ticks(low: float, high: float) -> list[float]:
    """Round values (1, 2 and 5 times powers of ten) from ``low`` to ``high`` for a logarithmic axis.

    >>> ticks(0.15, 3)
    [0.2, 0.5, 1.0, 2.0]
    """
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    values = [float(f"{step}e{power}") for power in powers for step in (1, 2, 5)]
    return [value for value in values if low <= value <= high]


def _candidate_spot(candidate: Candidate, cost: str, on_front: bool) -> Spot | None:
    assert candidate.state != "paused"  # such stand in no record of candidates
    kind: Kind = "front" if on_front else candidate.state
    figures = candidate.measurements
    scale = _SCALES[METRICS[cost].unit][0]
    return _spot(f"c{candidate.number}", kind, figures.get(cost), figures.get("accuracy"), scale)


def _student_spot(student: Student, cost: str) -> Spot | None:
    scale = _SCALES[METRICS[cost].unit][0]
    figures, before = student.measurements, student.before
    old = (display(before[cost]), display(before["accuracy"])) if {cost, "accuracy"} <= before.keys() else None
    kind: Kind = "student" if student.on_front else "fallen"
    return _spot(f"s{student.number}", kind, figures.get(cost), figures.get("accuracy"), scale, old)


def _spot(
    label: str,
    kind: Kind,
    cost: Measurement | None,
    accuracy: Measurement | None,
    scale: float,
    before: tuple[float, float] | None = None,
) -> Spot | None:
    """A spot, or None for what has no cost to be drawn at."""
    if cost is None:
        return None
    low = cost.value if cost.low is None else cost.low
    high = cost.value if cost.high is None else cost.high
    y = None if accuracy is None else 100 * accuracy.value
    return Spot(label, kind, cost.value * scale, y, low * scale, high * scale, before)
