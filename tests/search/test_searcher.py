"""The searcher as Tune drives it, without Tune: what ends it, and what a failing record does."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
from ray.tune.search import Searcher

from results.store import RunStore
from search.ladder import Ladder
from search.proposer import Proposal, Proposer
from search.searcher import ProposerSearcher
from spaces.choice import Choice
from tests.search.test_proposer import GOALS, Stairs, outcome


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore.create(tmp_path / "run")


def make(
    store: RunStore,
    trials: int = 3,
    time_limit: float | None = None,
    rungs: tuple[int, ...] = (1,),
    workers: int = 4,
) -> ProposerSearcher:
    proposer = Proposer(Stairs(), store, GOALS, "random", 1, trials)
    ladder = Ladder(rungs, GOALS.objectives, trials)
    ladder.resume(store.paused(), proposer.candidates)
    return ProposerSearcher(proposer, ladder, trials, time_limit, lambda candidate: None, workers=workers)


def end(searcher: ProposerSearcher, trial: str, config: dict) -> None:
    candidate = outcome(Proposal(config["number"], Choice(config["choice"]), config["key"]))
    searcher.on_trial_complete(trial, {"candidate": json.dumps(candidate.to_json())})


def test_trials_are_counted_over_interruptions(store):
    first = make(store)
    end(first, "a", first.suggest("a"))
    again = make(store)
    configs = {name: again.suggest(name) for name in "bcd"}
    assert configs.pop("d") is None, "what still runs may let others be taught on"
    for name, config in configs.items():
        end(again, name, config)
    assert again.suggest("d") == Searcher.FINISHED
    assert again.ended_by == "trials"


def test_time_ends_it(store):
    searcher = make(store, time_limit=1e-9)
    assert searcher.suggest("a") == Searcher.FINISHED
    assert searcher.ended_by == "time"


def test_a_front_that_no_longer_improves_ends_it(store):
    searcher = make(store, trials=9)
    searcher._stalled = lambda: len(store.candidates()) >= 2
    for trial in "ab":
        end(searcher, trial, searcher.suggest(trial))
    assert searcher.suggest("c") == Searcher.FINISHED
    assert searcher.ended_by == "front no longer improving"


def test_a_trial_that_was_stopped_leaves_no_trace(store):
    searcher = make(store)
    searcher.suggest("a")
    searcher.on_trial_complete("a", None)
    assert searcher.unfinished
    assert store.candidates() == []


def test_a_dead_worker_is_a_failed_candidate(store):
    searcher = make(store)
    searcher.suggest("a")
    for _ in range(2):
        searcher.begun("a")
        searcher.died("a")
    searcher.on_trial_complete("a", error=True)
    assert [(each.state, "died" in each.reason) for each in store.candidates()] == [("failed", True)]


def test_a_candidate_is_to_blame_only_for_workers_that_had_begun(store):
    searcher = make(store)
    searcher.suggest("a")
    searcher.begun("a")
    for _ in range(3):  # that which had begun, and two of a machine that Ray does not know to be lost
        searcher.died("a")
    assert not searcher.gives_up("a")
    searcher.begun("a")
    searcher.died("a")
    assert searcher.gives_up("a")
    searcher.on_trial_complete("a", None)
    assert [(each.state, "died" in each.reason) for each in store.candidates()] == [("failed", True)]


def test_a_candidate_that_is_not_to_blame_is_another_trial(store):
    searcher = make(store, trials=1)
    numbers = []
    searcher.suggest("z")
    searcher.ended_by = "trials"
    searcher.on_trial_complete("z", error=True)
    assert searcher.unfinished, "it waits to be handed out again"
    for trial in "bcd":
        numbers.append(searcher.suggest(trial)["number"])
        searcher.on_trial_complete(trial, error=True)
    assert numbers == [0, 0, 0]
    assert [each.state for each in store.candidates()] == ["failed"], "no worker can be given it"
    assert searcher.suggest("e") == Searcher.FINISHED


def test_another_trial_goes_on_where_the_candidate_was_paused(store):
    searcher = make(store, trials=1, rungs=(1, 3))
    config = searcher.suggest("a")
    searcher.begun("a")
    result = replace(
        outcome(Proposal(config["number"], Choice(config["choice"]), config["key"])),
        state="paused",
        fidelity=1 / 3,
    )
    assert searcher.heard("a", {"candidate": json.dumps(result.to_json())}) == "pause"
    searcher.paused("a")
    assert searcher.suggest("b") is None
    assert searcher.wake() == "a"
    searcher.died("a")  # while it was given to a worker that had not begun
    searcher.on_trial_complete("a", error=True)
    again = searcher.suggest("b")
    assert (again["number"], again["fidelity"]) == (0, pytest.approx(1 / 3))
    end(searcher, "b", again)
    assert [each.state for each in store.candidates()] == ["done"]


@pytest.mark.parametrize("name", ["candidates.jsonl", "study.log"])
def test_a_full_disk_ends_the_proposals_and_keeps_the_record(store, name):
    searcher = make(store)
    end(searcher, "a", searcher.suggest("a"))
    second = searcher.suggest("b")
    kept = (store.path / name).rename(store.path / "kept")
    (store.path / name).symlink_to("/dev/full")
    end(searcher, "b", second)
    assert "no space left" in str(searcher.error)
    assert "understudy resume" in str(searcher.error)
    assert searcher.suggest("c") == Searcher.FINISHED
    (store.path / name).unlink()
    kept.rename(store.path / name)
    assert make(store).suggest("d") != Searcher.FINISHED


def test_tune_may_pickle_it(store):
    assert pickle.dumps(make(store))


def test_a_trial_that_is_due_before_it_has_left_its_worker_runs_once_it_has(store):
    searcher = make(store, trials=9, rungs=(1, 3))
    for name in "abc":
        config = searcher.suggest(name)
        candidate = outcome(Proposal(config["number"], Choice(config["choice"]), config["key"]))
        candidate = replace(candidate, state="paused", fidelity=1 / 3)
        assert searcher.heard(name, {"candidate": json.dumps(candidate.to_json())}) != "stop"
    assert searcher.suggest("d") is None
    assert searcher.wake() is None
    for name in "abc":
        searcher.paused(name)
    due = searcher.wake()
    assert due in ("a", "b", "c")
    assert searcher.wake() is None


def test_a_candidate_pruned_while_it_left_a_dying_worker_stays_so(store):
    searcher = make(store, trials=9, rungs=(1, 3))
    config = searcher.suggest("a")
    candidate = outcome(Proposal(config["number"], Choice(config["choice"]), config["key"]))
    result = {"candidate": json.dumps(replace(candidate, state="paused", fidelity=1 / 3).to_json())}
    assert searcher.heard("a", result) == "pause"
    searcher._prune([config["number"]])
    assert searcher.heard("a", result) == "stop"
    assert [each.state for each in store.candidates()] == ["pruned"]
    assert not searcher._proposer.paused
