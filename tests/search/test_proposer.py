"""The proposer against a space whose accuracies and latencies are a formula: a search in milliseconds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

from evaluators.distill.auto import TaughtSpace
from results.budget import Budget
from results.candidate import Candidate
from results.goals import Goal, Goals
from results.measurement import NOT_MEASURED, Measurement
from results.store import RunStore
from search.proposer import Proposal, Proposer
from search.sampler import trials_in_file
from spaces.choice import Choice
from spaces.space import Space

OBJECTIVES = ("accuracy", "latency")
BUDGET = Budget({"latency": 0.010})
GOALS = Goals((Goal("", OBJECTIVES, BUDGET),))


class Stairs(Space):
    """Linear stacks; a choice beyond the depth changes nothing, and its signature says so."""

    def __init__(self) -> None:
        self.name = "stairs"
        self.resolutions = (8,)
        self.domain = {"depth": (1, 2, 3), "width": (4, 8, 16), "act": ("relu", "gelu"), "late": (0, 1)}

    def build(self, choice):
        return nn.Linear(int(choice["width"]), 2)

    def resolution(self, choice):
        return 8

    def signature(self, choice):
        late = choice["late"] if choice["depth"] == 3 else "-"
        return f"{choice['depth']} {choice['width']} {choice['act']} {late}"

    def smallest(self):
        return Choice({"depth": 1, "width": 4, "act": "relu", "late": 0})


def outcome(proposal: Proposal) -> Candidate:
    latency = proposal.choice["depth"] * proposal.choice["width"] / 3000
    figures = {"latency": Measurement(latency, "s"), "size": Measurement(1000, "byte")}
    broken = BUDGET.violation(figures)
    if broken is None:
        figures["accuracy"] = Measurement(1 - 1 / (1 + latency * 1000), "share")
    state = "infeasible" if broken else "done"
    return Candidate(proposal.number, dict(proposal.choice), proposal.key, state, broken or "", figures)


def run(store: RunStore, count: int, sampler: str = "tpe", seed: int = 3) -> Proposer:
    proposer = Proposer(Stairs(), store, GOALS, sampler, seed, trials=count)
    for _ in range(count):
        proposal = proposer.propose()
        if proposal is None:
            break
        proposer.conclude(outcome(proposal))
    return proposer


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore.create(tmp_path / "run")


@pytest.mark.parametrize(
    ("sampler", "count"), [("understudy", 20), ("tpe", 20), ("nsga2", 20), ("gp", 8), ("random", 20)]
)
def test_no_architecture_is_proposed_twice(store, sampler, count):
    keys = [candidate.key for candidate in run(store, count, sampler).candidates]
    assert len(keys) == len(set(keys)) == count


def test_small_space_is_exhausted_exactly(store):
    # 3 widths x 2 activations x (depth 1, depth 2, depth 3 twice) = 24 architectures of 36 choices
    assert len(run(store, 60, "random").candidates) == 24


def test_same_seed_proposes_the_same(tmp_path):
    first, second = (
        [candidate.choice for candidate in run(RunStore.create(tmp_path / name), 15).candidates] for name in "ab"
    )
    assert first == second


def test_another_seed_is_another_search_and_not_the_same_a_candidate_later(tmp_path):
    stores = [RunStore.create(tmp_path / name) for name in "ab"]
    first, second = (
        {candidate.key for candidate in run(store, 6, "random", seed=seed).candidates}
        for seed, store in enumerate(stores)
    )
    assert len(first & second) < 4


def test_a_new_process_knows_every_candidate(store):
    before = run(store, 12).candidates
    later = Proposer(Stairs(), store, GOALS, "tpe", 3, 24)
    assert later.candidates == before
    proposal = later.propose()
    assert proposal is not None
    assert proposal.number == 12
    assert proposal.key not in {candidate.key for candidate in before}


def test_study_file_holds_the_record_with_its_constraints(store):
    run(store, 10)
    trials = trials_in_file(store.path / "study.log", OBJECTIVES)
    assert [trial.user_attrs["candidate"] for trial in trials] == list(range(10))
    for trial, candidate in zip(trials, store.candidates(), strict=True):
        assert (trial.constraints["latency"] > 0) == (candidate.state == "infeasible")


@pytest.mark.parametrize("keep", [0, 1, 400])
def test_torn_or_lost_study_file_is_rebuilt_from_the_record(store, keep):
    run(store, 10)
    file = store.path / "study.log"
    file.write_bytes(file.read_bytes()[:keep])
    Proposer(Stairs(), store, GOALS, "tpe", 3, 24)
    assert len(trials_in_file(file, OBJECTIVES)) == 10


def test_failed_candidates_are_kept_and_not_proposed_again(store):
    proposer = Proposer(Stairs(), store, GOALS, "random", 0, 24)
    proposal = proposer.propose()
    assert proposal is not None
    proposer.conclude(Candidate(0, dict(proposal.choice), proposal.key, "failed", "NaN"))
    keys = {candidate.key for candidate in run(store, 30, "random").candidates[1:]}
    assert proposal.key not in keys
    assert len(keys) == 23


def test_an_architecture_is_measured_once_however_it_is_taught(store):
    space = TaughtSpace(Stairs(), ("hard-labels", "soft-targets", "dkd"))
    proposer = Proposer(space, store, GOALS, "random", 1, trials=90)
    costs, hopeless = {}, set()
    for _ in range(90):
        proposal = proposer.propose()
        architecture = proposal.key.partition("+")[0]
        assert architecture not in hopeless
        assert {name: figure.value for name, figure in proposal.known.items()} == costs.get(architecture, {})
        candidate = outcome(proposal)
        proposer.conclude(candidate)
        if candidate.state == "infeasible":
            hopeless.add(architecture)
        else:
            costs[architecture] = {name: candidate.measurements[name].value for name in ("latency", "size")}
    assert len(costs) < 60
    again = Proposer(space, store, GOALS, "random", 1, trials=90).propose()
    assert again.known.keys() == costs.get(again.key.partition("+")[0], {}).keys()


def test_what_was_predicted_because_no_board_was_there_is_measured_when_met_again(store):
    proposer = Proposer(TaughtSpace(Stairs(), ("hard-labels", "dkd")), store, GOALS, "random", 1, trials=60)
    over = set()
    met_again = 0
    for _ in range(60):
        proposal = proposer.propose()
        assert not proposal.known
        architecture = proposal.key.partition("+")[0]
        met_again += architecture in over
        candidate = outcome(proposal)
        guess = Measurement(candidate.measurements["latency"].value, "s", "predicted", conditions=NOT_MEASURED)
        proposer.conclude(replace(candidate, measurements={**candidate.measurements, "latency": guess}))
        if candidate.state == "infeasible":
            over.add(architecture)
    assert met_again
