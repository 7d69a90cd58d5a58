"""Which candidates are taught on, and that a search that is killed anywhere goes on as if it had not been."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count

import numpy as np
import pytest
from ray.tune.search import Searcher

from results.candidate import Candidate
from results.hypervolume import hypervolume
from results.measurement import Measurement
from results.store import RunStore
from search.ladder import Ladder, most_volume, rungs_of
from search.proposer import Proposal, Proposer
from search.sampler import trials_in_file
from search.searcher import ProposerSearcher
from spaces.choice import Choice
from tests.search.test_proposer import GOALS, OBJECTIVES, Stairs, outcome
from understudy import RunError

RUNGS = (1, 3, 9)
TRIALS = 20


def paused(number: int, accuracy: float, latency: float = 0.001, fidelity: float = 1 / 9) -> Candidate:
    figures = {"accuracy": Measurement(accuracy, "share"), "latency": Measurement(latency, "s")}
    return Candidate(number, {}, str(number), "paused", measurements=figures, fidelity=fidelity)


def test_the_cuts_of_a_training():
    assert [rungs_of(epochs, 3) for epochs in (1, 2, 8, 9, 12)] == [(1,), (1, 2), (1, 3, 8), (1, 3, 9), (2, 4, 12)]
    assert rungs_of(9, 1) == (9,)


def test_of_three_the_undominated_goes_on_and_the_longest_taught_first():
    ladder = Ladder(RUNGS, OBJECTIVES, 60)
    for number, accuracy in enumerate([0.5, 0.7]):
        ladder.reached(paused(number, accuracy))
        assert ladder.next() is None
    ladder.reached(paused(2, 0.6))
    assert ladder.next() == 1 == ladder.next()
    ladder.leave(1)
    assert ladder.next() is None
    for number in range(3, 9):
        ladder.reached(paused(number, 0.65))
    for number in (3, 4, 5):
        ladder.reached(paused(number, 0.65, fidelity=1 / 3))
    assert ladder.next() == 3


def test_a_front_wider_than_a_third_is_thinned_by_volume():
    ladder = Ladder(RUNGS, OBJECTIVES, 60)
    front = {
        0: (0.1, 1e-6),
        1: (0.79, 0.0019),
        2: (0.8, 0.002),
        3: (0.4, 0.001),
        4: (0.79, 0.003),
        5: (0.1, 0.004),
    }
    for number, figures in front.items():
        ladder.reached(paused(number, *figures))
    due = []
    while (number := ladder.next()) is not None:
        due.append(number)
        ladder.leave(number)
    assert due == [1, 3]
    stopped = "stopped after 1 of 9 epochs: "
    assert ladder.verdict(paused(2, 0.8)) == f"{stopped}none better, but others add more to the front"
    assert ladder.verdict(paused(5, 0.1)) == f"{stopped}5 better"


def test_most_volume_is_greedy():
    points = np.random.default_rng(0).random((12, 3))
    chosen: list[int] = []
    for _ in range(5):
        volume = {
            index: hypervolume([points[each] for each in (*chosen, index)], (1, 1, 1))
            for index in range(12)
            if index not in chosen
        }
        chosen.append(max(volume, key=volume.__getitem__))
    assert most_volume(points, 5, (1.0, 1.0, 1.0)) == chosen


def test_the_hopeless_do_not_wait():
    ladder = Ladder(RUNGS, OBJECTIVES, 9)
    for number in range(4):
        ladder.reached(paused(number, 0.5 + number / 10))
    assert ladder.hopeless() == [0]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_of_the_fewest_somebody_reaches_the_end(count):
    ladder = Ladder(RUNGS, OBJECTIVES, count)
    for number in range(count):
        ladder.reached(paused(number, 0.5 + number / 10))
    while (number := ladder.next()) is not None:
        ladder.reached(paused(number, 0.8, fidelity=1 / 3))
    assert ladder.close()
    first = ladder.next()
    assert first is not None
    ladder.reached(paused(first, 0.8, fidelity=1 / 3))
    assert ladder.next() is not None
    assert not ladder.close()


def test_a_training_cut_elsewhere_is_refused():
    with pytest.raises(RunError, match=r"paused after 2 epochs, and this search pauses after \[1, 3\] of 9"):
        Ladder(RUNGS, OBJECTIVES, 9).reached(paused(0, 0.5, fidelity=2 / 9))


class KilledError(Exception):
    """The moment at which the driver dies."""


def steps(moment: int | None) -> Callable[[], None]:
    """Something to be called at every step of a search, which dies at one of them."""
    counted = count()

    def step() -> None:
        if next(counted) == moment:
            raise KilledError

    return step


def taught(config: dict, reached: int) -> Candidate:
    """What a worker would make of the next step of a candidate that was taught ``reached`` epochs."""
    proposal = Proposal(config["number"], Choice(config["choice"]), config["key"])
    whole = outcome(proposal)
    if whole.state != "done":
        return whole
    until = next(rung for rung in RUNGS if rung > reached)
    noise = random.Random(f"{proposal.key} {until}").gauss(0, 0.1 / until)
    accuracy = Measurement(whole.measurements["accuracy"].value * (0.5 + until / 18) + noise, "share")
    figures = {**whole.measurements, "accuracy": accuracy}
    state = "done" if until == RUNGS[-1] else "paused"
    return replace(whole, state=state, measurements=figures, fidelity=until / 9, seconds={"train": float(until)})


def search(store: RunStore, step: Callable[[], None], sampler: str) -> None:
    """One process of a search with one worker, driven as Tune drives it, which may die at each ``step``."""
    proposer = Proposer(Stairs(), store, GOALS, sampler, 3, TRIALS)
    ladder = Ladder(RUNGS, OBJECTIVES, TRIALS)
    ladder.resume(store.paused(), proposer.candidates)
    searcher = ProposerSearcher(proposer, ladder, TRIALS, None, lambda candidate: step(), workers=1)
    configs: dict[str, dict] = {}
    reached: dict[str, int] = {}
    names: Iterator[str] = map(str, count())
    while True:
        step()
        trial = searcher.wake()
        if trial is None:
            trial = next(names)
            config = searcher.suggest(trial)
            if config == Searcher.FINISHED:
                break
            if config is None:  # one of this process's own is due
                continue
            configs[trial], reached[trial] = config, round(9 * config["fidelity"])
        decision = "continue"
        while decision == "continue":
            step()
            candidate = taught(configs[trial], reached[trial])
            result = {"candidate": json.dumps(candidate.to_json())}
            if candidate.state != "paused":
                searcher.on_trial_complete(trial, result)
                break
            reached[trial] = round(9 * candidate.fidelity)
            decision = searcher.heard(trial, result)
            if decision == "pause":
                searcher.paused(trial)
            elif decision == "stop":
                searcher.on_trial_complete(trial, result)
    assert searcher.error is None


def remembered(store: RunStore) -> dict[int, tuple]:
    return {
        each.number: (each.key, each.state, each.reason, each.measurements, each.seconds, each.fidelity)
        for each in store.candidates()
    }


@pytest.mark.parametrize("sampler", ["understudy", "tpe"])
def test_killed_anywhere_the_search_goes_on_to_the_same_record(sampler, tmp_path):
    whole = RunStore.create(tmp_path / "whole")
    search(whole, steps(None), sampler)
    expected = remembered(whole)
    assert {state for _, state, *_ in expected.values()} == {"done", "pruned", "infeasible"}
    for moment in (1, 12, 33, 60):
        store = RunStore.create(tmp_path / str(moment))
        for dying in (moment, 7, None):
            try:
                search(store, steps(dying), sampler)
            except KilledError:
                continue
        assert remembered(store) == expected, moment
    assert GOALS.front(whole.candidates())


def test_a_stopped_trial_is_never_told_as_complete(tmp_path):
    store = RunStore.create(tmp_path / "run")
    search(store, steps(None), "tpe")
    told = trials_in_file(store.path / "study.log", OBJECTIVES)
    trials = {trial.user_attrs["candidate"]: trial for trial in told}
    for candidate in store.candidates():
        if candidate.state == "pruned":
            assert trials[candidate.number].state.name == "PRUNED"
            assert trials[candidate.number].values is None
            assert candidate.reason.startswith("stopped after ")
            assert candidate.measurements["accuracy"]
            assert candidate.seconds == {"train": sum(rung for rung in RUNGS if rung <= 9 * candidate.fidelity)}
    assert len(store.candidates()) == TRIALS


def test_a_worker_that_dies_after_it_spoke_is_heard_once(tmp_path):
    store = RunStore.create(tmp_path / "run")
    proposer = Proposer(Stairs(), store, GOALS, "random", 3, TRIALS)
    ladder = Ladder(RUNGS, OBJECTIVES, TRIALS)
    searcher = ProposerSearcher(proposer, ladder, TRIALS, None, lambda candidate: None)
    config = searcher.suggest("a")
    result = {"candidate": json.dumps(taught(config, 0).to_json())}
    assert searcher.heard("a", result) == "pause"
    searcher.restarted("a")
    assert searcher.heard("a", result) == "pause"
    assert len(store.paused()) == 1
    for _ in range(2):
        searcher.begun("a")
        searcher.died("a")
    searcher.on_trial_complete("a", error=True)
    (lost,) = store.candidates()
    assert (lost.state, lost.fidelity) == ("failed", 1 / 9)
    assert lost.measurements["accuracy"]
