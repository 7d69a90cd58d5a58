from __future__ import annotations

import dataclasses
import math
import random
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from evaluators.compile.compiler import lower_kernels
from evaluators.compile.export import import_network
from evaluators.compile.kernel_facts import KernelFacts, network_facts
from evaluators.latency.predict.correction import Correction, Timed
from evaluators.latency.predict.interval import Errors, learn_errors
from evaluators.latency.predict.predictor import Predictor, TimedNetwork
from evaluators.latency.predict.prior import roofline_seconds
from evaluators.latency.predict.store import LatencyStore
from hw_profiles.profile import Profile, load_profile
from understudy import MeasureError

PROFILE = load_profile("x86-64-avx2")


def facts(network: nn.Module, *shape: int) -> list[KernelFacts]:
    computed, scheduled = lower_kernels(import_network(network.eval(), torch.zeros(shape)), PROFILE)
    return network_facts(computed, scheduled, PROFILE)


def test_equal_kernels_have_equal_keys_and_counts_are_those_of_the_loops() -> None:
    first = facts(nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64)), 4, 64)
    again = facts(nn.Sequential(nn.Linear(64, 128), nn.ReLU()), 4, 64)
    assert first[0].key == again[0].key != first[1].key
    dense = first[0].counts
    assert dense["operations"] >= 2 * 4 * 64 * 128
    assert dense["arithmetic"] >= 2 * 4 * 64 * 128 / 8
    assert dense["parallel"] == 1


def made_up(number: int) -> KernelFacts:
    generator = random.Random(number)
    operations = 10 ** generator.uniform(4, 7)
    counts = dict.fromkeys(
        ("output", "largest", "arguments", "scalars", "gathers", "divisions", "functions", "branches", "copies"),
        1.0,
    )
    counts |= {
        "operations": operations,
        "bytes": operations / 4,
        "stores": operations / 16,
        "loads": operations / 8,
    }
    counts |= {"arithmetic": operations / 8, "iterations": operations / 64, "parallel": 1.0, "depth": 3.0}
    return KernelFacts(f"{number:x}", generator.choice(["dense", "depthwise"]), 1, counts)


def true_seconds(kernel: KernelFacts) -> float:
    factor = 1.5 if kernel.rule == "dense" else 3.0
    return roofline_seconds(kernel.counts, PROFILE) * factor * (1 + 1e5 / (1e5 + kernel.counts["operations"]))


def network(numbers: range) -> TimedNetwork:
    kernels = tuple(map(made_up, numbers))
    noise = 1 + 0.01 * random.Random(numbers.start).gauss(0, 1)
    return TimedNetwork(kernels, (5e-6 + 1e-6 * len(kernels) + sum(map(true_seconds, kernels))) * noise)


NETWORKS = [network(range(7 * number, 7 * number + 12)) for number in range(60)]


def learnt(networks: list[TimedNetwork]) -> Predictor:
    kernels = {each.key: Timed(each, true_seconds(each), PROFILE) for one in networks for each in one.kernels}
    return Predictor(PROFILE, kernels, networks)


def test_networks_of_partly_unknown_kernels_are_predicted_with_an_interval_that_holds() -> None:
    predictor, held = learnt(NETWORKS[:40]), NETWORKS[42:]
    found = predictor.predict_many([each.kernels for each in held])
    errors = [abs(math.log(guess.value / each.seconds)) for guess, each in zip(found, held, strict=True)]
    assert float(np.mean(errors)) < 0.1
    assert all(guess.source == "predicted" for guess in found)
    inside = [guess.low <= each.seconds <= guess.high for guess, each in zip(found, held, strict=True)]
    assert sum(inside) >= 0.75 * len(inside)


def test_known_networks_have_narrower_intervals_than_unknown_ones() -> None:
    predictor = learnt(NETWORKS[:40])
    known, unknown = predictor.predict(NETWORKS[3].kernels), predictor.predict(NETWORKS[55].kernels)
    assert known.high / known.low < unknown.high / unknown.low
    assert predictor.unsure(NETWORKS[3].kernels) == []
    assert len(predictor.unsure(NETWORKS[55].kernels)) == 12


@pytest.mark.parametrize("noise", [0.004, 0.08])
def test_intervals_are_as_wide_as_the_noise_of_the_machine(noise: float) -> None:
    generator = np.random.default_rng(0)
    doubts = generator.uniform(0, 0.1, 400)
    errors = np.hypot(noise, doubts / 2) * generator.standard_t(4, 400)
    learnt = learn_errors(errors[:80], doubts[:80])
    held = np.abs(errors[80:]) <= learnt.reach(doubts[80:])
    assert float(held.mean()) == pytest.approx(0.9, abs=0.06)
    assert learnt.noise == pytest.approx(noise, rel=0.5)
    assert learn_errors(np.empty(0), np.empty(0)).noise == pytest.approx(Errors().noise, rel=0.01)


def test_nothing_timed_still_gives_the_roofline() -> None:
    found = Predictor(PROFILE, {}).predict(NETWORKS[0].kernels)
    assert found.value >= sum(roofline_seconds(each.counts, PROFILE) for each in NETWORKS[0].kernels)
    assert found.low < found.value < found.high


def test_a_thousand_networks_of_known_kernels_take_no_second() -> None:
    predictor = learnt(NETWORKS[:40])
    start = time.process_time()
    predictor.predict_many([NETWORKS[number % 40].kernels for number in range(1000)])
    assert time.process_time() - start < 10  # a slow machine's


def test_what_another_device_took_for_the_same_work_is_used() -> None:
    def seconds(kernel: KernelFacts, profile: Profile) -> float:
        quirk = 1 + int(kernel.key, 16) % 7  # of the work, which no feature tells
        return roofline_seconds(kernel.counts, profile) * quirk

    elsewhere, here = (dataclasses.replace(PROFILE, description=name) for name in ("elsewhere", "here"))
    timed = [made_up(number) for number in range(400)]
    base = Correction([Timed(each, seconds(each, elsewhere), elsewhere) for each in timed[:300]])
    few = [Timed(each, 2 * seconds(each, here), here) for each in timed[:40]]
    known, unknown = timed[100:200], timed[300:]

    def error(kernels: list[KernelFacts]) -> float:
        found = Correction(few, base).seconds(kernels, here)
        return float(np.std(np.log(found / [seconds(each, here) for each in kernels])))

    assert error(known) < 0.2 < error(unknown)


def test_what_was_timed_is_kept_by_device(tmp_path: Path) -> None:
    store = LatencyStore(tmp_path / "latency.sqlite")
    kernels = [Timed(each, true_seconds(each), PROFILE) for each in NETWORKS[0].kernels]
    store.add(PROFILE, kernels, [NETWORKS[0]])
    assert store.predictor(PROFILE).unsure(NETWORKS[0].kernels) == []
    other = dataclasses.replace(PROFILE, description="another")
    assert len(store.predictor(other).unsure(NETWORKS[0].kernels)) == 12
    again = store.predictor(PROFILE).predict(NETWORKS[0].kernels)
    assert again.value == pytest.approx(NETWORKS[0].seconds, rel=0.15)


def test_a_file_that_is_no_database_is_said(tmp_path: Path) -> None:
    (tmp_path / "latency.sqlite").write_text("not a database, by far not one")
    with pytest.raises(MeasureError, match="cannot be used"):
        LatencyStore(tmp_path / "latency.sqlite").predictor(PROFILE)
