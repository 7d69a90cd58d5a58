"""What Tune is told to run next: no worker that is starting is given up for one that is free."""

from __future__ import annotations

from dataclasses import dataclass, replace
from json import dumps

import pytest
from ray.tune.experiment import Trial

from results.store import RunStore
from search.ladder import Ladder
from search.proposer import Proposal, Proposer
from search.scheduler import RungScheduler
from search.searcher import ProposerSearcher
from spaces.choice import Choice
from tests.search.test_proposer import GOALS, Stairs, outcome


@dataclass(eq=False)
class Waiting:
    trial_id: str
    status: str = Trial.PENDING


@pytest.fixture
def searcher(tmp_path) -> ProposerSearcher:
    store = RunStore.create(tmp_path / "run")
    proposer = Proposer(Stairs(), store, GOALS, "random", 0, 9)
    ladder = Ladder((1, 3), GOALS.objectives, 9)
    return ProposerSearcher(proposer, ladder, 9, None, lambda candidate: None, workers=2)


def test_a_free_worker_takes_the_newest_trial_that_waits(searcher):
    scheduler, first, second = RungScheduler(searcher), Waiting("a"), Waiting("b")
    assert scheduler.choose_trial_to_run(None) is None
    for trial in (first, second):
        scheduler.on_trial_add(None, trial)
    assert scheduler.choose_trial_to_run(None) is second
    second.status = Trial.RUNNING
    assert scheduler.choose_trial_to_run(None) is first
    first.status = Trial.RUNNING
    assert scheduler.choose_trial_to_run(None) is None


def test_the_next_candidate_is_there_before_a_paused_one_has_left_its_worker(searcher):
    scheduler, trial = RungScheduler(searcher), Waiting("a", Trial.RUNNING)
    config = searcher.suggest("a")
    assert searcher.suggest("b") is not None
    assert searcher.suggest("c") is None, "both workers have a trial"
    candidate = outcome(Proposal(config["number"], Choice(config["choice"]), config["key"]))
    paused = replace(candidate, state="paused", fidelity=1 / 3)
    assert scheduler.on_trial_result(None, trial, {"candidate": dumps(paused.to_json())}) == "PAUSE"
    assert searcher.suggest("c") is not None
