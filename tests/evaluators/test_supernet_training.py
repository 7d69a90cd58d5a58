"""A supernet of perceptrons on digits: taught, cut off, shared among processes, scored."""

from __future__ import annotations

import functools
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from distiller_contract import digits, outputs
from torch import nn

from evaluators.distill import stretch
from evaluators.distill.evaluate import accuracy
from evaluators.distill.methods.response import SoftTargets
from evaluators.distill.schedule import Schedule
from evaluators.supernet.course import teach_supernet
from evaluators.supernet.crew import Crew, join, leave
from evaluators.supernet.kept import TRAINING, is_trained, open_supernet, read_facts, write_facts
from evaluators.supernet.lesson import Lesson
from evaluators.supernet.sample import Correlation, correlation, sample_choices
from evaluators.supernet.score import inherited_logits, recalibrate
from evaluators.supernet.training import SupernetTraining
from spaces.catalogue import load_space
from spaces.nni_adapter import LayerChoice, ModelSpace, NniSpace
from spaces.space import random_choice
from spaces.supernet import Supernet
from understudy import RunError

ROOT = Path(__file__).parents[2]
SCHEDULE = Schedule(5, batch_size=32, views=2)


@functools.cache
def space() -> NniSpace:
    found = load_space("mlp", channels=1, image_size=8, classes=10)
    assert isinstance(found, NniSpace)
    return found


def lesson() -> Lesson:
    return Lesson(digits(), SoftTargets(), outputs(), None, SCHEDULE, seed=3)


@pytest.fixture(scope="module")
def taught(tmp_path_factory) -> Path:
    """The folder of a supernet that was taught at one go."""
    folder = tmp_path_factory.mktemp("supernet")
    teach_supernet(space(), lesson(), folder, Crew())
    return folder


def test_inherited_weights_answer_right_without_a_training_of_their_own(taught):
    supernet, draw = open_supernet(taught, space()), random.Random(0)
    for choice in [random_choice(space(), draw) for _ in range(4)]:
        logits = inherited_logits(supernet.inherit(choice), digits(), space().resolution(choice))
        assert accuracy(logits, digits().targets("val")) > 0.4, "little above a guess"


def test_a_training_that_was_cut_off_ends_with_the_same_weights(taught, tmp_path, monkeypatch):
    monkeypatch.setattr(stretch, "BETWEEN_S", 0.0)

    def kill(done: int, steps: int) -> None:
        if done > 0.6 * steps:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        teach_supernet(space(), lesson(), tmp_path, Crew(), kill)
    assert (tmp_path / TRAINING).exists()
    assert not is_trained(tmp_path)
    heard: list[int] = []
    teach_supernet(space(), lesson(), tmp_path, Crew(), lambda done, _: heard.append(done))
    assert heard[0] > 1, "it began anew"
    write_facts(tmp_path, {})
    assert not (tmp_path / TRAINING).exists()
    once, again = (open_supernet(folder, space()).tensors for folder in (taught, tmp_path))
    assert all(torch.equal(once[name], again[name]) for name in once)


def test_a_step_moves_only_what_its_sub_networks_hold():
    torch.manual_seed(0)
    supernet = Supernet.untrained(space())
    before = {name: tensor.detach().clone() for name, tensor in supernet.tensors.items()}
    with SupernetTraining(supernet, lesson()) as training:
        training.epoch(0)
    assert all(not torch.equal(before[name], tensor) for name, tensor in supernet.tensors.items())


class Sized(ModelSpace):
    """A hidden layer of one of five sizes, each with weights of its own."""

    def __init__(self, channels, image_size, classes):
        super().__init__()
        inputs = channels * image_size**2
        hidden = {str(size): nn.Linear(inputs, size) for size in (2, 4, 6, 8, 10)}
        layers = {name: nn.Sequential(first, nn.Linear(int(name), classes)) for name, first in hidden.items()}
        self.flat, self.layers = nn.Flatten(), LayerChoice(layers, label="size")

    def forward(self, images):
        return self.layers(self.flat(images))


def test_weights_that_the_first_step_does_not_touch_learn_later():
    """It holds the smallest, the largest and two more: one of the five is met for the first time afterwards."""
    sized = NniSpace("sized", lambda: Sized(1, 8, 10), channels=1, image_size=8, classes=10)
    supernet = Supernet.untrained(sized)
    before = {name: tensor.detach().clone() for name, tensor in supernet.tensors.items()}
    with SupernetTraining(supernet, lesson()) as training:
        training.epoch(0)
    assert len(before) == 20
    assert all(not torch.equal(before[name], tensor) for name, tensor in supernet.tensors.items())


def test_norms_learn_the_statistics_of_the_training_images():
    network = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64, momentum=0.3), nn.Dropout(0.9))
    nn.init.constant_(network[1].running_mean, 7.0)
    recalibrate(network, digits(), 8)
    images = digits().batch("train", np.arange(digits().size("train")), 8).flatten(1)
    assert torch.allclose(network[1].running_mean, images.mean(0), atol=0.15)
    assert network[1].momentum == 0.3
    assert not network.training


def test_rank_correlations():
    same = correlation([0.1, 0.2, 0.3], [0.5, 0.6, 0.9])
    assert (same.kendall, same.spearman) == pytest.approx((1, 1))
    assert same.enough
    one_pair_wrong = correlation([0.1, 0.2, 0.3], [0.6, 0.5, 0.9])
    assert (one_pair_wrong.kendall, one_pair_wrong.spearman) == pytest.approx((1 / 3, 0.5))
    assert not one_pair_wrong.enough
    assert correlation([0.1, 0.1], [0.5, 0.6]) == Correlation(0, 0)


def test_the_sample_is_the_same_in_every_run():
    assert sample_choices(space()) == sample_choices(space())
    assert len({space().signature(choice) for choice in sample_choices(space())}) == 8


def test_damaged_files_are_refused_by_name(tmp_path):
    with pytest.raises(RunError, match=r"weights\.safetensors does not hold a supernet"):
        open_supernet(tmp_path, space())
    (tmp_path / "weights.safetensors").write_bytes(b"torn")
    with pytest.raises(RunError, match="start a new run"):
        open_supernet(tmp_path, space())
    assert read_facts(tmp_path) == {}
    write_facts(tmp_path, {"epochs": 3})
    assert read_facts(tmp_path) == {"epochs": 3}


OTHER = """
import pathlib, sys, torch
from evaluators.supernet.crew import join, leave
crew = join(1, 2, pathlib.Path(sys.argv[1]))
gradients = [torch.ones(2), torch.full((1, 1), 2.0)]
crew.average(gradients)
print([each.tolist() for each in gradients])
leave(crew)
"""


def test_a_crew_agrees_on_the_mean_gradient(tmp_path):
    """This process and another, each with the gradients of its share."""
    command = [sys.executable, "-c", OTHER, str(tmp_path / "met")]
    other = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    crew = join(0, 2, tmp_path / "met")
    gradients = [torch.zeros(2), torch.ones(1, 1)]
    crew.average(gradients)
    leave(crew)
    assert [each.tolist() for each in gradients] == [[0.5, 0.5], [[1.5]]]
    assert other.communicate()[0] == "[[0.5, 0.5], [[1.5]]]\n"
    assert [Crew(rank, 2).share(np.arange(5)).tolist() for rank in range(2)] == [[0, 2, 4], [1, 3]]
