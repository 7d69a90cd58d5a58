"""What earlier runs tell a search: much where they rank alike, and little for long where they mislead."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np

from results.measurement import Measurement
from search.samplers.earlier import EarlierRun
from search.samplers.encoding import Encoding
from search.samplers.strategy import Strategy
from tests.search.test_samplers import DOMAIN, GOALS, known, searched


def _run(seed):
    return searched(Strategy(DOMAIN, GOALS, seed, 60, known=known), 40)


def _mixed_up(run):
    """The same candidates, each with the accuracy of another."""
    done = [each for each in run if each.state == "done"]
    accuracies = [each.measurements["accuracy"] for each in done]
    random.Random(0).shuffle(accuracies)
    return [
        replace(each, measurements={**each.measurements, "accuracy": accuracy})
        for each, accuracy in zip(done, accuracies, strict=True)
    ]


def _chosen(elsewhere, count):
    return [
        each.choice for each in searched(Strategy(DOMAIN, GOALS, 5, 60, known=known, elsewhere=elsewhere), count)
    ]


def test_an_earlier_run_spares_most_of_the_first_candidates():
    run = _run(1)
    less_accurate = [
        replace(each, measurements={**each.measurements, "accuracy": Measurement(0.3 * figure.value, "share")})
        for each in run
        if (figure := each.measurements.get("accuracy"))
    ]
    warm = searched(Strategy(DOMAIN, GOALS, 5, 60, known=known, elsewhere=[less_accurate]), 8)
    cold = searched(Strategy(DOMAIN, GOALS, 5, 60, known=known), 8)
    assert GOALS.hypervolume(warm) > GOALS.hypervolume(cold)
    assert [each.choice for each in warm[:3]] == [each.choice for each in cold[:3]]


def test_a_run_that_misleads_is_left_out_once_that_is_seen():
    alone, misled = _chosen([], 12), _chosen([_mixed_up(_run(1))], 12)
    assert misled[:3] == alone[:3]
    spread = [choice for choice in alone[6:8] if choice in misled[6:]]
    assert len(spread) == 2, "the first candidates are spread out again"


def test_a_run_is_judged_by_how_it_ranks():
    encoding, run = Encoding(DOMAIN), [each for each in _run(1) if each.state == "done"]
    choices = [each.choice for each in run]
    errors = np.array([1 - each.measurements["accuracy"].value for each in run])
    earlier = EarlierRun(encoding, choices, (errors - errors.mean()) / errors.std())
    assert earlier.holds(choices, errors)
    assert earlier.holds(choices, 0.9 + errors / 10)
    assert not earlier.holds(choices, -errors)
    assert earlier.holds(choices[:5], -errors[:5]), "so few say nothing"


def test_what_cannot_be_had_here_is_not_learnt_from():
    def dear(name, choices):
        seconds = known(name, choices)
        return None if seconds is None else np.where([each["op0"] == "none" for each in choices], np.inf, seconds)

    found = searched(Strategy(DOMAIN, GOALS, 5, 60, known=dear, elsewhere=[_run(1)]), 8)
    assert all(each.choice["op0"] != "none" for each in found)
