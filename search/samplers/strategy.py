"""Which candidate to evaluate next, where costs are nearly free and accuracy is dear. Knows nothing of Optuna."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from results.candidate import Candidate
from results.goals import Goal, Goals
from search.samplers.accuracy import Accuracies, AccuracyModel, Seen, Taught, standardised
from search.samplers.candidates import Candidates, Codes
from search.samplers.costs import KnownCosts
from search.samplers.described import Described
from search.samplers.earlier import EarlierRun
from search.samplers.encoding import Array
from search.samplers.improvement import Front
from search.samplers.start import spread_out
from spaces.choice import Value

Fresh = Callable[[Mapping[str, Value]], bool]
"""Whether a choice makes a network that was not proposed before."""
_CLOSER = 4_096
"""The deviation, which takes longest to work out, is that of so many of the most promising."""
_LIKELY = 0.01
_AT_FIRST, _HALF = 0.25, 0.5
"""While little is known of costs: candidates so likely within the limits, and those that go before others."""
_ASKED = 200
_FEWEST = 3
_BELIEVED = 200
"""Of those that are pending so many, the latest, are taken for what is expected of them: the time grows with their
cube, and with rungs, most candidates wait to the end."""
_BESIDE = 32
"""Where more than so many are being evaluated, several are proposed at once, one for each so many: a result more
tells little then, and so many workers must not wait."""
_NEAR = 512
"""Several are chosen from so many of the most promising."""
_ALONE = 6
"""Where a cost that is traded off has a limit, one of so many looks seeks the least error within it alone."""
_START_LEAST, _START_MOST, _START_SHARE = 5, 8, 6
_ELSEWHERE = 150
Aim = tuple[Goal, Front]
"""What a proposal is after on a target, and what was won there."""


class Strategy:
    """Proposes by expected hypervolume improvement (``improvement.py``) over a large pool of candidates.

    Accuracies are learnt by a Gaussian process (``accuracy.py``), costs are known or learnt (``costs.py``), and
    whoever is likely over the limits of every target is left out before anything is evaluated. Who sets a limit
    mostly wants the best within it, to which a front's hypervolume owes little: some proposals seek that alone.
    The first candidates are spread over choices and costs (``start.py``); where costs are not known, the very
    first is the ``smallest`` network, from which they are expected to grow. All follows from the seed, the record
    and ``elsewhere``, the candidates of earlier runs of the space, which spare most of the first candidates and
    are heeded as long as they rank what was taught here (``earlier.py``).
    """

    def __init__(
        self,
        domain: Mapping[str, tuple[Value, ...]],
        goals: Goals,
        seed: int,
        trials: int,
        known: KnownCosts | None = None,
        elsewhere: Sequence[Sequence[Candidate]] = (),
        smallest: Mapping[str, Value] | None = None,
    ) -> None:
        self._goals, self._seed = goals, seed
        names = [*goals.objectives, *(goal.name(limit) for goal in goals.each for limit in goal.budget.limits)]
        costs = dict.fromkeys(name for name in names if name != "accuracy")
        self._smallest = None if known is not None else smallest
        self._candidates = Candidates(domain, costs, known, self._smallest)
        self._accuracy = AccuracyModel(self._candidates.encoding, list(costs))
        runs = [_taught(run)[-_ELSEWHERE:] for run in elsewhere]
        self._elsewhere = [
            EarlierRun(self._candidates.encoding, [each.choice for each in run], standardised(_errors(run)))
            for run in runs
            if len(run) > 1
        ]
        self._first = min(_START_MOST, max(_START_LEAST, trials // _START_SHARE))
        self._ahead: list[dict[str, Value]] = []
        self._begun: tuple[int, Codes, Codes] | None = None
        self._looked: tuple[Described, Described] | None = None

    def propose(
        self, record: Sequence[Candidate], pending: Sequence[Mapping[str, Value]], fresh: Fresh
    ) -> dict[str, Value] | None:
        """The choice to evaluate after those of the record, while ``pending`` are being evaluated.

        None when none of the most promising is ``fresh``. Where very many are
        pending, the next few are chosen with it, and told when asked for.
        """
        while self._ahead:
            choice = self._ahead.pop(0)
            if fresh(choice):
                return choice
        number, several = len(record) + len(pending), 1 + len(pending) // _BESIDE
        beginning = self._begins(number, record)
        if beginning:
            ranked = self._beginning(number, record)
        else:
            random = np.random.default_rng([self._seed, number])
            ranked = self._ranked(record, pending, random, number // several, several)
        found = filter(fresh, self._candidates.encoding.choices(ranked[:_ASKED]))
        chosen = next(found, None)
        if not beginning:
            self._ahead = list(islice(found, several - 1))
        return chosen

    def _begins(self, number: int, record: Sequence[Candidate]) -> bool:
        """Whether too little is known to learn from; an earlier run that holds here stands in for most of it."""
        if number < _FEWEST or len(_taught(record)) < _FEWEST:
            return True
        return number < self._first and not self._heeded(record)

    def _beginning(self, number: int, record: Sequence[Candidate]) -> Codes:
        """Codes before there is enough to learn from, the one to take first, from what was seen of costs.

        Where teaching is cut at rungs, or the budget is tight, it may be long before some are fully taught.
        """
        if number == 0 and self._smallest is not None:
            return self._candidates.encoding.codes([self._smallest])
        if self._begun is None or self._begun[0] != len(record):
            self._begun = len(record), *self._spread(record)
        _, spread, others = self._begun
        return np.concatenate([np.roll(spread, -number, axis=0), others])

    def _spread(self, record: Sequence[Candidate]) -> tuple[Codes, Codes]:
        """The codes of the first candidates, spread out, and of others; they follow from seed and record."""
        random = np.random.default_rng([self._seed])
        pool = self._candidates.pool(self._candidates.encoding.codes([]), record, random)
        likelihood = self._likelihood(pool)
        pool = pool.at(np.flatnonzero(likelihood > min(_AT_FIRST, _HALF * likelihood.max(initial=0.0))))
        first = next(iter(pool.costs.values())).value if pool.costs else np.zeros(len(pool))
        spread = spread_out(pool.codes, first, self._first, random)
        others = random.permutation(len(pool))
        others = others[np.argsort(self._likelihood(pool)[others] < _HALF, kind="stable")]
        return pool.codes[spread], pool.codes[others]

    def _ranked(
        self,
        record: Sequence[Candidate],
        pending: Sequence[Mapping[str, Value]],
        random: np.random.Generator,
        look: int,
        several: int,
    ) -> Codes:
        """The codes of the pool that were not proposed before, the ``several`` that go together best first."""
        seen = self._seen(record)
        taught = seen.taught
        waiting = self._candidates.described(pending[-_BELIEVED:], record)
        model = self._accuracy.learnt(seen, waiting, lambda count: self._seen(_until_taught(record, count)))
        reached = taught.described.joined(waiting)
        errors = np.concatenate([taught.errors, model.mean(waiting)])
        aims = [(goal, self._front(goal, errors, reached, model.limit)) for goal in self._sought(look)]
        best = np.unique(np.concatenate([front.members for _, front in aims]))
        pool = self._likely(reached.codes[best], record, random)
        proposed = self._candidates.encoding.codes([*(each.choice for each in record), *pending])
        places = (pool.places.get(row.tobytes()) for row in proposed)
        new = np.ones(len(pool), bool)
        new[[at for at in places if at is not None]] = False
        return pool.codes[self._order(pool, new, model, aims, several)]

    def _sought(self, look: int) -> Sequence[Goal]:
        """What the proposals of a look are after: the goals, or now and then accuracy alone within the limits."""
        limited = [not goal.budget.limits.keys().isdisjoint(goal.objectives) for goal in self._goals.each]
        return [
            replace(goal, objectives=("accuracy",)) if tight and look % _ALONE == 0 else goal
            for goal, tight in zip(self._goals.each, limited, strict=True)
        ]

    def _likely(self, near: Codes, record: Sequence[Candidate], random: np.random.Generator) -> Described:
        """Those of the pool that may be within the limits; kept, for where costs are known they stay the same."""
        pool = self._candidates.pool(near, record, random)
        if self._looked is None or pool is not self._looked[0]:
            self._looked = pool, pool.at(np.flatnonzero(self._likelihood(pool) > _LIKELY))
        return self._looked[1]

    def _order(
        self, pool: Described, new: NDArray[np.bool_], model: Accuracies, aims: Sequence[Aim], several: int
    ) -> NDArray[np.intp]:
        """The most promising places of a pool, of those that are ``new`` (n,). The improvement grows with the
        deviation: with the largest that there can be, it is a bound, and only for those where that is high the
        deviation is worked out."""
        mean = model.mean(pool)
        bound = self._promise(pool, mean, np.full(len(pool), model.deviation_before), aims)
        closer = np.argsort(np.where(new, -bound, np.inf), kind="stable")[: min(_CLOSER, int(new.sum()))]
        near = pool.at(closer)
        deviation = model.deviation(near)
        order = np.argsort(-self._promise(near, mean[closer], deviation, aims), kind="stable")
        if several > 1:
            best = order[:_NEAR]
            first = best[self._together(near.at(best), mean[closer][best], deviation[best], aims, several)]
            order = np.concatenate([first, order[~np.isin(order, first)]])
        return np.asarray(closer[order])

    def _together(
        self, near: Described, mean: Array, deviation: Array, aims: Sequence[Aim], several: int
    ) -> NDArray[np.intp]:
        """The places of several, each the most promising after those before it turned out as expected."""
        left, chosen = np.ones(len(near), bool), list[int]()
        while left.any() and len(chosen) < several:
            promise = np.where(left, self._promise(near, mean, deviation, aims), -np.inf)
            best = int(promise.argmax())
            left[best] = False
            chosen.append(best)
            aims = [
                (goal, front.joined(float(mean[best]), near.values(_costs_of(goal))[best])) for goal, front in aims
            ]
        return np.array(chosen, np.intp)

    def _promise(self, pool: Described, mean: Array, deviation: Array, aims: Sequence[Aim]) -> Array:
        """The expected improvement, the mean over the targets, times the chance to be within the limits there."""
        total = np.zeros(len(pool))
        for goal, front in aims:
            costs = pool.values(_costs_of(goal))
            total += front.improvement(mean, deviation, costs) * _within(goal, pool)
        return total

    def _likelihood(self, pool: Described) -> Array:
        """The chance of each to be within the limits of a target, the likeliest."""
        return np.asarray(np.max([_within(goal, pool) for goal in self._goals.each], axis=0))

    def _front(self, goal: Goal, errors: Array, reached: Described, limit: float) -> Front:
        """What was won on a target, and its reference: errors beyond ``limit`` win nothing, nor do costs beyond
        the budget's limit, or where there is none, beyond 1.1 times the largest that was seen."""
        names = _costs_of(goal)
        costs = reached.values(names)
        inside = _within(goal, reached) > 0.5
        limits = {goal.name(metric): most for metric, most in goal.budget.limits.items()}
        ends = [limits.get(name, 1.1 * float(costs[:, at].max(initial=1e-12))) for at, name in enumerate(names)]
        errors = np.where(inside, errors, np.inf)
        return Front(errors, costs, np.array([limit, *ends]))

    def _seen(self, record: Sequence[Candidate]) -> Seen:
        """What a record, and earlier runs, say of accuracies."""
        done = _taught(record)
        taught = Taught(self._candidates.measured(done, record), _errors(done))
        return Seen(taught, self._known_elsewhere(record))

    def _known_elsewhere(self, record: Sequence[Candidate]) -> Taught | None:
        """What earlier runs saw, in units of their spread, with the costs that this run has for it, if any."""
        runs = self._heeded(record)
        if not runs:
            return None
        described = self._candidates.described([choice for run in runs for choice in run.choices], record)
        errors = np.concatenate([run.errors for run in runs])
        possible = np.flatnonzero(np.isfinite(described.values(list(described.costs))).all(1))
        return Taught(described.at(possible), errors[possible])

    def _heeded(self, record: Sequence[Candidate]) -> list[EarlierRun]:
        """The earlier runs but for those that rank what was taught here hardly better than chance."""
        done = _taught(record)
        return [run for run in self._elsewhere if run.holds([each.choice for each in done], _errors(done))]


def _costs_of(goal: Goal) -> list[str]:
    return [goal.name(metric) for metric in goal.objectives if metric != "accuracy"]


def _within(goal: Goal, described: Described) -> Array:
    """The chance of each to be within the limits of a target."""
    chances = [described.costs[goal.name(name)].within(most) for name, most in goal.budget.limits.items()]
    return np.asarray(np.prod([np.ones(len(described)), *chances], axis=0))


def _taught(record: Sequence[Candidate]) -> list[Candidate]:
    return [each for each in record if each.state == "done" and "accuracy" in each.measurements]


def _until_taught(record: Sequence[Candidate], count: int) -> Sequence[Candidate]:
    """The record up to the candidate that was the ``count``-th to be taught."""
    ends = [at for at, each in enumerate(record, 1) if _taught([each])]
    return record[: ends[count - 1]]


def _errors(candidates: Sequence[Candidate]) -> Array:
    return np.array([1 - each.measurements["accuracy"].value for each in candidates], float)
