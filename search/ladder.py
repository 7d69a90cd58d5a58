"""Which candidates are taught on: asynchronous successive halving over several objectives."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from results.candidate import Candidate
from results.hypervolume import Point, exclusive_volume
from results.measurement import Measurement, metric_of
from understudy import RunError

FACTOR = 3
"""One of so many candidates is taught on, for so many times as long."""


def rungs_of(epochs: int, count: int) -> tuple[int, ...]:
    """The epochs after which candidates are compared, each ``FACTOR`` times as many; the last are all."""
    return tuple(sorted({math.ceil(epochs / FACTOR**power) for power in range(count)}))


class Ladder:
    """Candidates that wait at each rung of training length, and which of them is next.

    ASHA (Li et al., 2020, arXiv:1810.05934) with several objectives (Schmucker et al., 2021, arXiv:2106.12639): of
    all that ever came to a rung, the best third may go on. A candidate's rank there is the number of others that
    dominate it (Fonseca and Fleming, 1993); of equals, those go on that together dominate the largest volume.
    What is next depends on nothing but the results so far, so that a search told them again goes on alike.

    ``most`` is how many candidates there will ever be: one that is dominated by too many has no hope and need not
    wait. With a single rung nobody waits. Raises ``RunError`` for a candidate that paused between two rungs.
    """

    def __init__(self, rungs: Sequence[int], objectives: Sequence[str], most: int) -> None:
        self.rungs, self._objectives = tuple(rungs), tuple(objectives)
        self._closed, self._hope = False, math.ceil(most / FACTOR)
        self._levels = [_Level(len(objectives)) for _ in rungs[:-1]]

    def reached(self, candidate: Candidate) -> None:
        """Hear of a candidate that is paused: it waits on the rung of its fidelity, and on no lower one."""
        rung = self._rung(candidate)
        for level in self._levels[:rung]:
            level.waiting.discard(candidate.number)
        self._levels[rung].add(candidate.number, _point(candidate.measurements, self._objectives))

    def resume(self, pauses: Iterable[Candidate], ended: Iterable[Candidate]) -> None:
        """Hear again of all that an earlier process knew."""
        for candidate in pauses:
            self.reached(candidate)
        for candidate in ended:
            self.leave(candidate.number)

    def leave(self, number: int) -> None:
        """Hear that a candidate waits no longer: it is being taught on, or has ended."""
        for level in self._levels:
            level.waiting.discard(number)

    def close(self) -> bool:
        """Hear that nobody new will come: thirds are rounded up now, so that somebody reaches the end.

        Whether that is news.
        """
        news, self._closed = not self._closed, True
        for level in self._levels:
            level.fresh = False
        return news

    def next(self) -> int | None:
        """The candidate to teach on, of the highest rung where one is due; None where none is."""
        for level in reversed(self._levels):
            due = level.due(rounded_up=self._closed)
            if due is not None:
                return due
        return None

    def hopeless(self) -> list[int]:
        """Those that wait in vain: dominated by as many as can ever go on from their rung."""
        return [number for level in self._levels for number in level.hopeless(self._hope)]

    def verdict(self, candidate: Candidate) -> str:
        """Why a paused candidate was not taught on."""
        rung = self._rung(candidate)
        better = self._levels[rung].better_than(candidate.number)
        why = f"{better} better" if better else "none better, but others add more to the front"
        return f"stopped after {self.rungs[rung]} of {self.rungs[-1]} epochs: {why}"

    def _rung(self, candidate: Candidate) -> int:
        epochs = round(candidate.fidelity * self.rungs[-1])
        if epochs not in self.rungs[:-1]:
            raise RunError(
                f"candidate #{candidate.number} is paused after {epochs} epochs, and this search pauses after "
                f"{list(self.rungs[:-1])} of {self.rungs[-1]}: resume it with the epochs and rungs it began with"
            )
        return self.rungs.index(epochs)


class _Level:
    """The candidates that came to one rung."""

    def __init__(self, objectives: int) -> None:
        self.waiting: set[int] = set()
        self._numbers: list[int] = []
        self._index: dict[int, int] = {}
        self._points: NDArray[np.float64] = np.empty((64, objectives))
        self._better: NDArray[np.int64] = np.zeros(64, np.int64)
        self._changed: list[int] = []
        self._due: int | None = None
        self.fresh = False

    def add(self, number: int, point: Point) -> None:
        """A newcomer, or one that comes again: its rank, and what it does to that of others."""
        self.waiting.add(number)
        self.fresh = False
        if number in self._index:
            return
        count, new = len(self._numbers), np.array(point)
        if count == len(self._points):
            self._points = np.concatenate([self._points, np.empty_like(self._points)])
            self._better = np.concatenate([self._better, np.zeros_like(self._better)])
        others = self._points[:count]
        under, over = others <= new, others >= new
        self._better[count] = np.count_nonzero(under.all(1) & ~over.all(1))
        worse = over.all(1) & ~under.all(1)
        self._better[:count] += worse
        self._points[count] = new
        self._index[number] = count
        self._numbers.append(number)
        self._changed = [number, *(self._numbers[index] for index in np.flatnonzero(worse))]

    def due(self, rounded_up: bool) -> int | None:
        """The best that waits among those that may go on."""
        if not self.fresh or (self._due is not None and self._due not in self.waiting):
            room = math.ceil(len(self._numbers) / FACTOR) if rounded_up else len(self._numbers) // FACTOR
            chosen = (self._numbers[index] for index in self._best(room))
            self._due, self.fresh = next((number for number in chosen if number in self.waiting), None), True
        return self._due

    def better_than(self, number: int) -> int:
        """How many dominate a candidate."""
        return int(self._better[self._index[number]])

    def hopeless(self, hope: int) -> list[int]:
        """Those that wait though as many as ``hope`` dominate them, since the latest newcomer."""
        return [each for each in self._changed if each in self.waiting and self.better_than(each) >= hope]

    def _best(self, room: int) -> list[int]:
        """The indices of the ``room`` best, the best first."""
        if not room:
            return []
        ranks = self._better[: len(self._numbers)]
        last = int(np.partition(ranks, room - 1)[room - 1])
        sure = np.flatnonzero(ranks < last)
        sure = sure[np.argsort(ranks[sure], kind="stable")]
        tied = np.flatnonzero(ranks == last)
        if len(sure) + len(tied) > room:
            points = self._points[: len(self._numbers)]
            chosen = most_volume(points[tied], room - len(sure), _reference(points))
            tied = tied[chosen]
        return [*sure.tolist(), *tied.tolist()]


def most_volume(points: NDArray[np.float64], count: int, reference: Point) -> list[int]:
    """Of the points, ``count`` that dominate much volume together, chosen one by one, each adding the most.

    What a point adds only falls as others are chosen, so that few are looked at again (Minoux, 1978).
    """
    chosen: list[int] = []
    queue = [(-math.inf, -1, index) for index in range(len(points))]
    while len(chosen) < count:
        _, known, index = heapq.heappop(queue)
        if known == len(chosen):
            chosen.append(index)
            continue
        volume = exclusive_volume(points[index].tolist(), (points[each].tolist() for each in chosen), reference)
        heapq.heappush(queue, (-volume, len(chosen), index))
    return chosen


def _reference(points: NDArray[np.float64]) -> Point:
    """What volumes are measured from: beyond the worst in every objective, 0 for those that are maximised."""
    worst = np.where(np.isfinite(points), points, -np.inf).max(0)
    return tuple(0.0 if value <= 0 else 1.1 * float(value) for value in worst)


def _point(measurements: Mapping[str, Measurement], objectives: Sequence[str]) -> Point:
    """The figures by objective, turned so that lower is better; infinite where there is none."""
    return tuple(
        (-measurements[name].value if metric_of(name).maximise else measurements[name].value)
        if name in measurements
        else math.inf
        for name in objectives
    )
