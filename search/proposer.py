"""Proposes candidates and hears how they ended: the search's memory, with no part of Ray in it."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from results.candidate import Candidate
from results.front import by_finish
from results.goals import Goals
from results.measurement import NOT_MEASURED, Measurement, hardware_figures, metric_of
from results.store import RunStore, unwritable
from search.sampler import OURS, distributions, make_sampler, new_study, trials_in_file
from search.samplers.costs import KnownCosts
from search.samplers.strategy import Strategy
from search.samplers.understudy import UnderstudySampler
from spaces.choice import Choice
from spaces.space import Space

SAMPLER_TRIES = 10
RANDOM_TRIES = 300
NUMBER = "candidate"


_STATES = {
    "done": TrialState.COMPLETE,
    "infeasible": TrialState.COMPLETE,
    "failed": TrialState.FAIL,
    "pruned": TrialState.PRUNED,
    "paused": TrialState.RUNNING,
}


@dataclass(frozen=True)
class Proposal:
    """A choice to evaluate: its number in the run, its signature, and what its architecture is known to cost.

    ``fidelity`` is the share of its training that it had already.
    """

    number: int
    choice: Choice
    key: str
    known: Mapping[str, Measurement] = field(default_factory=dict)
    fidelity: float = 0.0


class Proposer:
    """Asks an Optuna sampler for choices that were not evaluated yet and tells it what became of them.

    The record of the run (``candidates.jsonl``) is the truth: a candidate is appended to it before the
    sampler hears of it, and a new ``Proposer`` on an existing run tells its sampler all of it first. What is
    proposed depends on the seed, the number and the record alone, so that a resumed search proposes as one that
    was never interrupted, as long as nothing is evaluated beside it. The study's file is kept in step for people
    who want to look at it.

    A candidate whose teaching is paused (``rungs.jsonl``) is a running trial to the sampler, and one that was
    stopped early a pruned one without values: an accuracy of half a training is never told as that of a whole.

    ``costs`` tells what choices cost where that is known without evaluating them; ``elsewhere`` are the
    candidates of earlier runs of the same space. Only our own sampler heeds them.

    Raises ``RunError`` when the record cannot be written.
    """

    def __init__(
        self,
        space: Space,
        store: RunStore,
        goals: Goals,
        sampler: str,
        seed: int,
        trials: int,
        costs: KnownCosts | None = None,
        elsewhere: Sequence[Sequence[Candidate]] = (),
    ) -> None:
        self._space, self._store, self._goals, self._objectives = space, store, goals, goals.objectives
        self._distributions = distributions(space.domain)
        self.candidates = store.candidates()
        self._known = {candidate.key for candidate in self.candidates}
        self._hopeless: set[str] = set()
        self._costs: dict[str, Mapping[str, Measurement]] = {}
        ended = {candidate.number for candidate in self.candidates}
        self.paused = {each.number: each for each in store.paused() if each.number not in ended}
        self._known |= {candidate.key for candidate in self.paused.values()}
        for candidate in [*self.candidates, *self.paused.values()]:
            self._learn_cost(candidate)
        self._next = 1 + max([*ended, *self.paused], default=-1)
        self._seed, self._random = seed, random.Random()
        self._record = by_finish(self.candidates)
        if sampler == OURS:
            strategy = Strategy(space.domain, goals, seed, trials, costs, elsewhere, space.smallest())
            ours = UnderstudySampler(strategy, self._distributions, self._record, self._is_fresh, seed)
            self._sampler: Callable[[], BaseSampler] = lambda: ours
            self._tries = 1  # it says so when it has nothing new
        else:
            self._sampler = lambda: make_sampler(sampler, self._drawing().getrandbits(32), trials)
            self._tries = SAMPLER_TRIES
        self._study = new_study(self._sampler(), self._objectives)
        self._running: dict[int, optuna.Trial | int] = {}
        self._file = self._reconciled_file()

    def propose(self) -> Proposal | None:
        """The next choice, never one of a signature proposed before; None when none is left."""
        self._study.sampler, self._random = self._sampler(), self._drawing()
        for attempt in range(self._tries + RANDOM_TRIES):
            if attempt >= self._tries:
                self._study.enqueue_trial(self._draw())
            trial = self._study.ask(self._distributions)
            if self._is_fresh(trial.params):
                choice = self._choice_of(trial.params)
                return self._accept(trial, choice, self._space.signature(choice))
            self._study.tell(trial, state=TrialState.FAIL)
        return None

    def pause(self, candidate: Candidate) -> None:
        """Write down how far a candidate's teaching has come."""
        self._store.append_paused(candidate)
        self.paused.pop(candidate.number, None)  # so that the latest is the last
        self.paused[candidate.number] = candidate
        self._learn_cost(candidate)

    def again(self, number: int) -> Proposal:
        """A paused candidate, to be taught on."""
        candidate = self.paused[number]
        costs = hardware_figures(candidate.measurements)
        return Proposal(number, Choice(candidate.choice), candidate.key, costs, candidate.fidelity)

    def conclude(self, *candidates: Candidate) -> None:
        """Append finished candidates to the record, then tell the sampler how they ended."""
        self._store.append(*candidates)
        for candidate in candidates:
            self._tell(candidate)

    def _tell(self, candidate: Candidate) -> None:
        self.candidates.append(candidate)
        self._record.append(candidate)
        self.paused.pop(candidate.number, None)
        self._learn_cost(candidate)
        trial = self._running.pop(candidate.number)
        if isinstance(trial, optuna.Trial):
            trial.set_user_attr(NUMBER, candidate.number)
            for name, excess in self._constraints(candidate).items():
                trial.set_constraint(name, excess)
        told = self._study.tell(trial, self._values(candidate), _STATES[candidate.state])
        try:
            self._file.add_trial(told)
        except OSError as error:
            raise unwritable(self._store.path / "study.log", error) from error

    def _accept(self, trial: optuna.Trial, choice: Choice, key: str) -> Proposal:
        self._known.add(key)
        proposal = Proposal(self._next, choice, key, self._costs.get(key.partition("+")[0], {}))
        self._running[self._next] = trial
        self._next += 1
        return proposal

    def _learn_cost(self, candidate: Candidate) -> None:
        """Remember what an architecture costs; one over the budget stays so, however it is taught.

        What was predicted because a board was lost is not remembered: the next one may be measured.
        """
        if any(figure.conditions.startswith(NOT_MEASURED) for figure in candidate.measurements.values()):
            return
        if candidate.state == "infeasible":
            self._hopeless.add(candidate.architecture)
        if candidate.state in ("done", "paused", "pruned"):
            self._costs[candidate.architecture] = hardware_figures(candidate.measurements)

    def _is_fresh(self, params: Mapping[str, Any]) -> bool:
        """Whether no network of the signature was proposed before, nor one of its architecture over the budget."""
        key = self._space.signature(self._choice_of(params))
        return key not in self._known and key.partition("+")[0] not in self._hopeless

    def _choice_of(self, params: Mapping[str, Any]) -> Choice:
        return Choice({name: params.get(name, values[0]) for name, values in self._space.domain.items()})

    def _drawing(self) -> random.Random:
        """What the next proposal draws from: of its own for every seed and number."""
        return random.Random(f"{self._seed}:{self._next}")

    def _draw(self) -> dict[str, Any]:
        return {name: self._random.choice(self._space.domain[name]) for name in self._distributions}

    def _constraints(self, candidate: Candidate) -> dict[str, float]:
        """The budget as Optuna's constraints (above 0: broken)."""
        return self._goals.excesses(candidate.measurements)

    def _values(self, candidate: Candidate) -> list[float] | None:
        """What the sampler is told of the objectives, or None for a candidate that failed or was not fully taught.

        An infeasible candidate was not taught, and Optuna wants a value for every objective: it gets the
        mean of those seen, which draws the sampler neither there nor away; the broken constraint does that.
        """
        if candidate.state not in ("done", "infeasible"):
            return None
        return [
            candidate.measurements[name].value if name in candidate.measurements else self._neutral(name)
            for name in self._objectives
        ]

    def _neutral(self, name: str) -> float:
        whole = (found for found in self.candidates if found.fidelity == 1)
        seen = [found.measurements[name].value for found in whole if name in found.measurements]
        return statistics.fmean(seen) if seen else (0.0 if metric_of(name).maximise else 1.0)

    def _reconciled_file(self) -> optuna.Study:
        """Tell the sampler the whole record, and bring the study's file in step with it."""
        file = self._store.path / "study.log"
        kept = {trial.user_attrs.get(NUMBER): trial for trial in trials_in_file(file, self._objectives)}
        trials = [kept.get(candidate.number) or self._rebuilt(candidate) for candidate in self.candidates]
        known = {trial.user_attrs[NUMBER]: trial for trial in trials}
        known |= {number: self._rebuilt(candidate) for number, candidate in self.paused.items()}
        for number in sorted(known):  # as they were asked for
            self._study.add_trial(known[number])
            if number in self.paused:
                self._running[number] = len(self._study.get_trials(deepcopy=False)) - 1
        if len(kept) != len(trials) or any(trial.user_attrs[NUMBER] not in kept for trial in trials):
            file.unlink(missing_ok=True)
            study = new_study(None, self._objectives, file)
            study.add_trials(trials)
            return study
        return new_study(None, self._objectives, file)

    def _rebuilt(self, candidate: Candidate) -> FrozenTrial:
        """The Optuna trial of a recorded candidate that the study's file lacks."""
        return create_trial(
            state=_STATES[candidate.state],
            values=self._values(candidate),
            params={name: candidate.choice[name] for name in self._distributions},
            distributions=self._distributions,
            user_attrs={NUMBER: candidate.number},
            constraints=self._constraints(candidate),
        )
