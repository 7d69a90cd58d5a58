"""The strategy of a search: its parts against what they approximate, and the whole on a space of formulas."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from results.budget import Budget
from results.candidate import Candidate
from results.goals import Goal, Goals
from results.hypervolume import hypervolume
from results.measurement import Measurement
from search.samplers import accuracy as accuracy_model
from search.samplers import strategy as strategy_module
from search.samplers.costs import Costs
from search.samplers.encoding import Encoding
from search.samplers.improvement import Front
from search.samplers.process import condition, hyperparameters
from search.samplers.start import spread_out
from search.samplers.strategy import Strategy
from spaces.choice import Value

DOMAIN: dict[str, tuple[Value, ...]] = {f"op{place}": ("none", "skip", "small", "large") for place in range(5)}
WORK = {"none": 0.0, "skip": 0.1, "small": 1.0, "large": 3.0}
LIMIT = 10.0
GOALS = Goals((Goal("", ("accuracy", "latency"), Budget({"latency": LIMIT})),))


def latency(choice: Mapping[str, Value]) -> float:
    return 0.5 + sum(WORK[str(choice[name])] for name in DOMAIN)


def accuracy(choice: Mapping[str, Value]) -> float:
    """More work helps, less the later; without the first part nothing is learnt."""
    if choice["op0"] == "none":
        return 0.1
    worth = sum(WORK[str(choice[name])] ** 0.5 / (1 + place / 2) for place, name in enumerate(DOMAIN))
    return 0.4 + 0.5 * (1 - math.exp(-worth / 2)) - 0.05 * (choice["op4"] == "none")


def known(name: str, choices: Sequence[Mapping[str, Value]]) -> np.ndarray | None:
    return np.array([latency(choice) for choice in choices]) if name == "latency" else None


def evaluated(number: int, choice: Mapping[str, Value], goals: Goals = GOALS) -> Candidate:
    figures = {"latency": Measurement(latency(choice), "s"), "size": Measurement(latency(choice) ** 2, "byte")}
    broken = goals.violation(figures)
    if broken is None:
        figures["accuracy"] = Measurement(accuracy(choice), "share")
    return Candidate(number, dict(choice), str(choice), "infeasible" if broken else "done", broken or "", figures)


def searched(
    strategy: Strategy, count: int, record: Sequence[Candidate] = (), goals: Goals = GOALS
) -> list[Candidate]:
    found = list(record)
    keys = {candidate.key for candidate in found}
    while len(found) < count:
        choice = strategy.propose(found, [], lambda choice: str(choice) not in keys)
        assert choice is not None
        found.append(evaluated(len(found), choice, goals))
        keys.add(found[-1].key)
    return found


def test_different_values_are_one_apart_and_numbers_by_rank():
    encoding = Encoding({"kernel": (3, 5, 7), "act": ("relu", "gelu"), "fixed": (1,)})
    rows = encoding.rows(
        encoding.codes([{"kernel": 3, "act": "relu"}, {"kernel": 7, "act": "relu"}, {"kernel": 3, "act": "gelu"}])
    )
    distances = ((rows[0] - rows[1:]) ** 2).sum(1)
    np.testing.assert_allclose(distances, [1, 1])
    assert encoding.groups == (slice(0, 1), slice(1, 3))


def test_equal_values_are_counted_wherever_they_are():
    encoding = Encoding({"first": ("a", "b"), "second": ("a", "b")})
    rows = encoding.rows(encoding.codes([{"first": "a", "second": "b"}, {"first": "b", "second": "a"}]))
    np.testing.assert_allclose(rows[0, -2:], rows[1, -2:])


@pytest.mark.parametrize("costs", [1, 2])
def test_expected_improvement_is_the_mean_of_hypervolumes(costs):
    random = np.random.default_rng(costs)
    errors, spent = random.uniform(0.2, 0.7, 6), random.uniform(0.1, 0.9, (6, costs))
    reference = np.array([0.8, *[1.0] * costs])
    front = Front(errors, spent, reference)
    mean, deviation, own = np.array([0.3, 0.6]), np.array([0.1, 0.2]), random.uniform(0.1, 0.6, (2, costs))
    points = [(error, *each) for error, each in zip(errors, spent, strict=True)]
    before = hypervolume(points, reference)
    for at in range(2):
        drawn = random.normal(mean[at], deviation[at], 2000)
        gained = [hypervolume([*points, (error, *own[at])], reference) - before for error in drawn]
        expected = np.mean(gained) / reference.prod()
        assert front.improvement(mean, deviation, own)[at] == pytest.approx(expected, rel=0.15, abs=1e-3)


@pytest.mark.parametrize("costs", [1, 2])
def test_members_are_those_that_none_beats(costs):
    random = np.random.default_rng(costs)
    errors, spent = random.integers(0, 9, 200) / 10, random.integers(0, 9, (200, costs)) / 10
    errors[::7] = np.inf
    points = np.column_stack([errors, spent])
    beaten = [((points <= point).all(1) & (points < point).any(1)).any() for point in points]
    expected = [at for at in range(200) if np.isfinite(errors[at]) and not beaten[at]]
    assert Front(errors, spent, np.ones(1 + costs)).members.tolist() == expected


def test_process_learns_which_columns_matter():
    random = np.random.default_rng(0)
    rows = random.uniform(0, 1, (60, 3))
    targets = np.sin(6 * rows[:, 0])
    targets = (targets - targets.mean()) / targets.std()
    groups = [slice(0, 1), slice(1, 3)]
    logarithms = hyperparameters(rows[:50], groups, targets[:50])
    process = condition(logarithms, rows[:50], groups, targets[:50])
    assert logarithms[2] > logarithms[3]
    assert np.abs(process.mean(rows[50:]) - targets[50:]).max() < 0.3
    assert (process.deviation(rows[:50]) < process.deviation(rows[:50] + 5)).all()


def test_costs_within_a_limit():
    within = Costs(np.array([1.0, 3.0, 2.0, np.inf]), np.array([0.0, 0.0, 0.5, 0.0])).within(2.0)
    np.testing.assert_allclose(within, [1, 0, 0.5, 0])


def test_the_start_covers_costs_and_values():
    encoding = Encoding(DOMAIN)
    codes = np.random.default_rng(0).integers(4, size=(500, 5))
    costs = np.array([latency(choice) for choice in encoding.choices(codes)])
    chosen = spread_out(codes, costs, 8, np.random.default_rng(1))
    assert len(set(chosen.tolist())) == 8
    assert all(len(set(codes[chosen, place])) == 4 for place in range(5))
    assert costs[chosen].min() <= np.quantile(costs, 0.125)
    assert costs[chosen].max() >= np.quantile(costs, 0.875)


@pytest.mark.parametrize("costs", [known, None])
def test_it_finds_the_front_sooner_than_chance(costs):
    choices = [
        dict(zip(DOMAIN, values, strict=True))
        for values in np.array(np.meshgrid(*DOMAIN.values())).T.reshape(-1, 5).tolist()
    ]
    whole = [evaluated(number, choice) for number, choice in enumerate(choices)]
    random = np.random.default_rng(0)
    chance = [GOALS.hypervolume([whole[at] for at in random.permutation(len(whole))[:40]]) for _ in range(5)]
    found = searched(Strategy(DOMAIN, GOALS, 1, 40, costs), 40)
    share = GOALS.hypervolume(found) / GOALS.hypervolume(whole)
    assert share > 0.97
    assert share > max(chance) / GOALS.hypervolume(whole)
    over = sum(candidate.state == "infeasible" for candidate in found)
    assert over == 0 if costs else over < 8


@pytest.mark.parametrize("limit", [4.0, 7.0])
def test_a_search_for_accuracy_alone_finds_the_best_within_a_limit(limit):
    goals = Goals((Goal("", ("accuracy",), Budget({"latency": limit})),))
    best = max(accuracy(choice) for choice in _choices() if latency(choice) <= limit)
    found = searched(Strategy(DOMAIN, goals, 0, 30, known), 25, goals=goals)
    assert all(each.state == "done" for each in found)
    assert max(accuracy(each.choice) for each in found) == pytest.approx(best, abs=0.002)


def test_the_best_within_a_limit_is_found_sooner_than_by_the_front_alone(monkeypatch):
    def best(every: int) -> float:
        monkeypatch.setattr(strategy_module, "_ALONE", every)
        runs = [searched(Strategy(DOMAIN, GOALS, seed, 40, known), 25) for seed in range(4)]
        return float(np.mean([max(accuracy(each.choice) for each in run) for run in runs]))

    assert best(strategy_module._ALONE) > best(100)


def test_accuracy_alone_is_sought_now_and_then_where_its_cost_has_a_limit():
    front, wide = ("accuracy", "latency"), Goals((Goal("", ("accuracy", "latency"), Budget({"size": 9.0})),))
    sought = [Strategy(DOMAIN, goals, 0, 30)._sought(look) for goals in (GOALS, wide) for look in range(12)]
    objectives = [goal.objectives for goals in sought for goal in goals]
    assert objectives == [("accuracy",), *[front] * 5] * 2 + [front] * 12
    assert sought[0][0].budget == GOALS.each[0].budget


@pytest.mark.parametrize("costs", [known, None])
def test_a_search_resumed_anywhere_proposes_what_it_would_have(costs):
    whole = searched(Strategy(DOMAIN, GOALS, 3, 30, costs), 25)
    for done in range(4, 25, 3):
        keys = {each.key for each in whole[:done]}
        strategy = Strategy(DOMAIN, GOALS, 3, 30, costs)
        assert strategy.propose(whole[:done], [], lambda choice: str(choice) not in keys) == whole[done].choice  # noqa: B023


def test_what_is_being_evaluated_sends_the_next_elsewhere():
    strategy = Strategy(DOMAIN, GOALS, 0, 30, known)
    record = searched(strategy, 12)
    pending: list[dict[str, Value]] = []
    for _ in range(4):
        choice = strategy.propose(record, pending, lambda choice: True)
        assert choice is not None
        pending.append(choice)
    assert len({str(choice) for choice in pending}) == 4


def test_several_targets_and_three_objectives():
    several = Goals(
        (
            Goal("a", ("accuracy", "latency", "size"), Budget({"latency": LIMIT})),
            Goal("b", ("accuracy", "latency", "size"), Budget()),
        )
    )

    def figures(choice: Mapping[str, Value]) -> dict[str, Measurement]:
        costs = {f"latency@{name}": latency(choice) * factor for name, factor in (("a", 1), ("b", 2))}
        costs |= {f"size@{name}": 1 + latency(choice) ** 2 for name in "ab"}
        return {
            "accuracy": Measurement(accuracy(choice), "share"),
            **{name: Measurement(value, "s" if "latency" in name else "byte") for name, value in costs.items()},
        }

    strategy = Strategy(DOMAIN, several, 0, 30)
    record: list[Candidate] = []
    for number in range(14):
        choice = strategy.propose(record, [], lambda choice: True)
        assert choice is not None
        record.append(Candidate(number, choice, str(choice), "done", "", figures(choice)))
    assert len({candidate.key for candidate in record}) == 14


@pytest.mark.parametrize(("sign", "helps"), [(1, True), (-1, False)])
def test_an_earlier_run_is_heeded_as_far_as_it_is_right(sign, helps):
    """The same accuracies in another scale, or their opposite."""
    choices = Encoding(DOMAIN).choices(np.random.default_rng(0).integers(4, size=(80, 5)))
    earlier = [
        Candidate(
            number,
            choice,
            str(choice),
            "done",
            "",
            {"accuracy": Measurement(0.5 + sign * 0.4 * accuracy(choice), "share")},
        )
        for number, choice in enumerate(choices)
    ]
    found, alone = (
        GOALS.hypervolume(searched(Strategy(DOMAIN, GOALS, 1, 30, known, runs), 16)) for runs in ([earlier], [])
    )
    assert found >= alone - (0.0 if helps else 0.03)


def test_a_space_too_large_to_be_looked_at_whole():
    domain: dict[str, tuple[Value, ...]] = {f"width{place}": (8, 16, 24, 32) for place in range(20)}

    def outcome(number: int, choice: Mapping[str, Value]) -> Candidate:
        total = sum(int(choice[name]) for name in domain)
        figures = {
            "latency": Measurement(total / 100, "s"),
            "accuracy": Measurement(1 - 1 / (1 + total / 300 + (choice["width0"] == 32)), "share"),
        }
        return Candidate(number, dict(choice), str(choice), "done", "", figures)

    strategy = Strategy(domain, GOALS, 0, 30)
    record: list[Candidate] = []
    for number in range(12):
        choice = strategy.propose(record, [], lambda choice: True)
        assert choice is not None
        record.append(outcome(number, choice))
    late = [candidate.choice["width0"] for candidate in record[-4:]]
    assert late.count(32) >= 3


def test_a_tight_budget_is_met_by_most_of_the_first_candidates_where_the_smallest_network_is_known():
    domain: dict[str, tuple[Value, ...]] = {f"width{place}": (8, 16, 24, 32) for place in range(20)}
    smallest = dict.fromkeys(domain, 8)
    goals = Goals((Goal("", ("accuracy", "latency"), Budget({"latency": 2.0})),))

    def outcome(number: int, choice: Mapping[str, Value]) -> Candidate:
        work = [math.log(int(choice[name]) / 8) * (1 + place % 3) / 20 for place, name in enumerate(domain)]
        figures = {"latency": Measurement(math.exp(1.3 * sum(work)), "s")}
        if goals.violation(figures) is None:
            figures["accuracy"] = Measurement(0.5 + 0.3 * sum(work), "share")
        state = "done" if "accuracy" in figures else "infeasible"
        return Candidate(number, dict(choice), str(choice), state, "", figures)

    record: list[Candidate] = []
    strategy = Strategy(domain, goals, 0, 12, smallest=smallest)
    for number in range(12):
        choice = strategy.propose(record, [], lambda choice: str(choice) not in {each.key for each in record})
        assert choice is not None
        record.append(outcome(number, choice))
    assert record[0].choice == smallest
    assert [each.state for each in record].count("done") >= 8


def test_where_very_many_are_pending_one_look_proposes_several_that_differ(monkeypatch):
    strategy = Strategy(DOMAIN, GOALS, 0, 200, known)
    record = searched(strategy, 30)
    keys = {each.key for each in record}
    pending = [choice for choice in _choices() if str(choice) not in keys and latency(choice) < LIMIT][:100]
    keys |= {str(choice) for choice in pending}
    looks = []
    looked = strategy._ranked
    monkeypatch.setattr(strategy, "_ranked", lambda *given: looks.append(1) or looked(*given))
    found: list[Mapping[str, Value]] = []
    for _ in range(4):
        choice = strategy.propose(record, [*pending, *found], lambda choice: str(choice) not in keys)
        assert choice is not None
        keys.add(str(choice))
        found.append(choice)
    assert len(looks) == 1
    assert len({latency(choice) for choice in found}) > 1


def test_of_very_many_candidates_a_part_is_learnt_from(monkeypatch):
    monkeypatch.setattr(accuracy_model, "_HEEDED", 60)
    record = [evaluated(number, choice) for number, choice in enumerate(_choices()) if number % 8]
    keys = {each.key for each in record}
    choice = Strategy(DOMAIN, GOALS, 0, 2000, known).propose(record, [], lambda choice: str(choice) not in keys)
    assert choice is not None
    errors = np.random.default_rng(0).normal(size=500)
    rows, kept = accuracy_model._heeded(np.arange(500.0)[:, None], errors)
    assert len(kept) == 60
    assert set(np.sort(errors)[:30]) <= set(kept)
    np.testing.assert_array_equal(errors[rows[:, 0].astype(int)], kept)


def _choices() -> list[dict[str, Value]]:
    return [dict(zip(DOMAIN, values, strict=True)) for values in itertools.product(*DOMAIN.values())]
