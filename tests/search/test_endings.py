"""What ends a search because its front no longer improves, and what an earlier run may tell a new one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from results.budget import Budget
from results.candidate import Candidate
from results.goals import Goal, Goals
from results.measurement import Measurement
from results.store import RunStore
from search.config import SearchConfig
from search.patience import has_stalled
from search.warm_start import earlier_candidates
from tests.search.test_proposer import Stairs
from understudy import ConfigError, RunError

GOALS = Goals((Goal("", ("accuracy", "latency"), Budget({"latency": 1.0})),))


def candidate(number: int, accuracy: float, state: str = "done") -> Candidate:
    figures = {"accuracy": Measurement(accuracy, "share"), "latency": Measurement(0.5, "s")}
    choice = {"depth": 1, "width": 4, "act": "relu", "late": 0}
    return Candidate(number, choice, str(number), state, "", figures, elapsed=float(number))


@pytest.mark.parametrize(
    ("accuracies", "stalled"),
    [
        ([0.5, 0.6, 0.6, 0.5], True),
        ([0.5, 0.6, 0.7, 0.5], False),
        ([0.6, 0.6001, 0.6002, 0.6003], True),
        ([0.5, 0.6], False),
        ([0.0, 0.0, 0.0, 0.0], False),
    ],
)
def test_a_front_that_did_not_improve_has_stalled(accuracies, stalled):
    assert has_stalled([candidate(*each) for each in enumerate(accuracies)], GOALS, 2) == stalled


def test_candidates_over_the_budget_do_not_count():
    taught = [candidate(0, 0.5), candidate(1, 0.6)]
    over = [candidate(number, 0.1, "infeasible") for number in range(2, 9)]
    assert not has_stalled([*taught, *over], GOALS, 2)


def test_an_earlier_run_of_the_same_space_is_read(tmp_path):
    store = RunStore.create(tmp_path / "earlier")
    store.write_text("config.yaml", "")
    store.append(candidate(0, 0.5))
    assert earlier_candidates([str(store.path)], Stairs()) == [store.candidates()]


def test_runs_that_tell_nothing_are_refused(tmp_path):
    with pytest.raises(RunError, match="not a run folder"):
        earlier_candidates([str(tmp_path)], Stairs())
    store = RunStore.create(tmp_path / "earlier")
    store.write_text("config.yaml", "")
    with pytest.raises(ConfigError, match="no candidate of this run was taught"):
        earlier_candidates([str(store.path)], Stairs())
    store.append(replace(candidate(0, 0.5), choice={"depth": 1, "width": 5, "act": "relu", "late": 0}))
    with pytest.raises(ConfigError, match="not of the space of this search"):
        earlier_candidates([str(store.path)], Stairs())


def test_only_our_sampler_takes_a_warm_start():
    with pytest.raises(ConfigError, match="sampler tpe takes no warm start"):
        SearchConfig(sampler="tpe", warm_start=("results/runs/earlier",))
