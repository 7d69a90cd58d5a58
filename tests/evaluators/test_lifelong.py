"""What learning later data rests on: labels, memory, the grown network, the loss, drift."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from distiller_contract import CHECKS, Case, ConvNet
from torch.nn import functional

from evaluators.distill.signals import Signals
from evaluators.lifelong.drift import Drift, Sample, feature_drift, pixel_drift
from evaluators.lifelong.forgetting import WithoutForgetting, widened
from evaluators.lifelong.growth import grow
from evaluators.lifelong.labels import join_classes
from evaluators.lifelong.memory import Memory, exemplars
from understudy import ConfigError, DataError, SpaceError, TrainError

LABELLED = [check for check in CHECKS if "label" not in check.__name__]


def test_classes_are_matched_by_name():
    classes = join_classes(("cat", "dog"), ("bird", "dog"))
    assert classes.labels == ("cat", "dog", "bird")
    assert classes.mapping.tolist() == [2, 1]
    assert (classes.new, classes.absent) == (("bird",), ("cat",))
    with pytest.raises(DataError, match="numbers"):
        join_classes(("cat", "dog"), ("0", "1"))
    with pytest.raises(DataError, match="'Dog' of the new data is written as 'dog'"):
        join_classes(("cat", "dog"), ("Dog",))


def test_exemplars_are_even_and_herding_meets_the_mean():
    random = np.random.default_rng(0)
    targets = np.repeat([0, 1, 2], [50, 50, 4])
    features = random.normal(3, 1, (104, 5)).astype(np.float32)
    chosen = exemplars(features, targets, 30, "herding", 0)
    assert np.bincount(targets[chosen]).tolist() == [13, 13, 4]
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)

    def error(ids):
        return np.linalg.norm(unit[ids][targets[ids] == 0].mean(0) - unit[targets == 0].mean(0))

    drawn = [error(exemplars(features, targets, 30, "random", seed)) for seed in range(5)]
    assert error(chosen) < min(drawn)
    assert len(exemplars(features, targets, 0, "random", 0)) == 0
    assert len(exemplars(features, targets, 999, "herding", 0)) == 104


def test_a_memory_is_read_as_it_was_written_and_nothing_else_is(tmp_path):
    memory = Memory(np.arange(2 * 64, dtype=np.uint8).reshape(2, 1, 8, 8), np.array([1, 0]))
    memory.save(tmp_path / "replay.npz")
    again = Memory.load(tmp_path / "replay.npz")
    assert (again.pictures == memory.pictures).all()
    assert again.targets.tolist() == [1, 0]
    (tmp_path / "replay.npz").write_bytes(b"no")
    with pytest.raises(DataError, match="holds no replay memory"):
        Memory.load(tmp_path / "replay.npz")


def test_a_grown_network_answers_as_before_about_what_it_knew():
    torch.manual_seed(0)
    before, after = ConvNet(1, 8, 3).eval(), ConvNet(1, 8, 5).eval()
    images = torch.rand(4, 1, 8, 8)
    grow(after, before.state_dict(), 3, 5)
    assert torch.allclose(after(images)[:, :3], before(images), atol=1e-6)
    with pytest.raises(SpaceError, match="more than rows of a classifier"):
        grow(ConvNet(1, 16, 5), before.state_dict(), 3, 5)


def test_the_loss_is_labels_and_both_papers_terms():
    torch.manual_seed(0)
    ours, former, targets = torch.randn(6, 5), torch.randn(6, 3), torch.tensor([0, 1, 2, 3, 4, 4])
    former[torch.arange(3), targets[:3]] = 9  # right about the first two, then made wrong about the third
    former[2] = torch.tensor([9.0, 0, 0])
    distiller = WithoutForgetting(3, temperature=2, weight=0.5, replay=0.2)
    loss = distiller.loss(Signals(ours), Signals(former), targets)
    trusted = [0, 1, 3, 4, 5]
    soft = (ours[trusted, :3] / 2).softmax(1)
    wanted = (former[trusted] / 2).softmax(1)
    kept = 4 * (wanted * (wanted / soft).log()).sum() / 6
    replayed = (ours[:2, :3] - former[:2]).square().mean(1).sum() / 6
    expected = functional.cross_entropy(ours, targets) + 0.5 * kept + 0.2 * replayed
    assert float(loss.total) == pytest.approx(float(expected), rel=1e-5)
    with pytest.raises(TrainError, match="label them"):
        WithoutForgetting(3).loss(Signals(ours), Signals(former), None)
    with pytest.raises(ConfigError, match="needs a known class"):
        WithoutForgetting(0)
    assert widened(former, 5).argmax(1).tolist() == former.argmax(1).tolist()


@pytest.mark.parametrize("check", LABELLED, ids=lambda check: check.__name__)
def test_contract(check):
    check(Case(lambda: WithoutForgetting(7)))


def test_drift_is_found_where_it_is_and_only_there():
    random = np.random.default_rng(0)

    def sample(count: int, shift: float = 0.0) -> Sample:
        targets = random.integers(3, size=count)
        return Sample((random.normal(shift, 1, (count, 8)) + targets[:, None]).astype(np.float32), targets)

    taught, unseen = sample(600), sample(200)
    for shift, drifted in ((0.0, False), (0.8, True)):
        distance, usual = feature_drift(taught, unseen, sample(150, shift), 0)
        drift = Drift(distance, usual, (0.0,), (1.0,))
        assert drift.drifted is drifted
        assert ("look different" in drift.sentence) is drifted
    later = sample(50)
    assert feature_drift(taught, unseen, Sample(later.features, later.targets + 7), 0) is None
    shift, spread = pixel_drift([0.5], [0.25], np.full((2, 1, 4, 4), 255, np.uint8))
    assert shift == (pytest.approx(2.0),)
    assert spread[0] == pytest.approx(0, abs=1e-5)
