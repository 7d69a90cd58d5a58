"""A supernet whose stages each learn what the teacher's stage gives."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import ExitStack

import numpy as np
import pytest
import torch
from distiller_contract import ConvNet, digits, outputs, teacher
from torch import nn

from evaluators.distill.features import FeatureCapture
from evaluators.distill.methods.layered import Compared
from evaluators.distill.methods.response import SoftTargets
from evaluators.distill.schedule import Schedule
from evaluators.supernet.blocks import BlockWise, FromBlocks, check_features, check_stages
from evaluators.supernet.lesson import Lesson
from evaluators.supernet.training import SupernetTraining
from evaluators.teachers.ensemble import Ensemble
from evaluators.teachers.teacher import ModuleTeacher, Teacher
from spaces.catalogue import load_space
from spaces.nni_adapter import NniSpace
from spaces.supernet import Supernet
from understudy import ConfigError, TeacherError

IDS = np.arange(32)


@functools.cache
def space(name: str = "residual") -> NniSpace:
    found = load_space(name, channels=1, image_size=8, classes=10)
    assert isinstance(found, NniSpace)
    return found


def lesson(distiller: BlockWise | SoftTargets) -> Lesson:
    return Lesson(digits(), distiller, outputs(), teacher(), Schedule(2, batch_size=128, views=1), seed=3)


@functools.cache
def _tensors() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return dict(Supernet.untrained(space()).tensors)


def untrained() -> Supernet:
    return Supernet(space(), {name: tensor.detach().clone() for name, tensor in _tensors().items()})


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as held:
        yield held


def gradients(stack: ExitStack, distiller: BlockWise) -> dict[str, torch.Tensor]:
    """Those of the shared tensors, by name, after one batch of the largest and the smallest part."""
    supernet = untrained()
    largest, smallest = map(supernet.sub_network, (supernet.largest, supernet.smallest))
    supervision = FromBlocks(lesson(distiller), space(), largest, stack)
    supervision.gradients([largest, smallest], IDS, 0, 0.0)
    return {name: tensor.grad for name, tensor in supernet.tensors.items() if tensor.grad is not None}


def test_what_follows_a_layer_that_is_cut_does_not_teach_it():
    network, images = ConvNet(1, 8, 10), torch.rand(4, 1, 8, 8)
    whole = network(images)
    with FeatureCapture(network, ["low", "high"], cut=["low"]) as capture:
        assert torch.equal(network(images), whole), "what it computes is the same"
        capture.features["high"].square().sum().backward()
    assert all(parameter.grad is None for parameter in network.low.parameters())
    assert all(parameter.grad is not None for parameter in network.high.parameters())


def test_each_block_learns_by_itself_and_the_last_from_answers_as_well(stack):
    """The teacher here has two stages, so the students' first two are one block."""
    softly, hard = (gradients(stack, BlockWise(soft=soft)) for soft in (0.9, 0.0))
    same = {name for name in softly if torch.allclose(softly[name], hard[name], atol=1e-5)}
    assert {_part(name) for name in same} == {"stem", "stages.0", "stages.1"}
    assert {_part(name) for name in set(softly) - same} == {"stages.2", "head"}
    doubled = gradients(stack, BlockWise(weight=2 * BlockWise.weight))
    assert all(torch.allclose(doubled[name], 2 * softly[name], rtol=1e-3, atol=1e-4) for name in same)


def _part(name: str) -> str:
    first, second, *_ = name.split(".")
    return f"{first}.{second[0]}" if first == "stages" else first


def test_maps_that_tell_the_same_are_no_distance_apart():
    """Whatever the scale of a channel and the size of the map, and for students narrower than the widest."""
    maps = torch.rand(16, 3, 4, 4)
    scaled = maps * torch.tensor([3.0, 0.1, 7.0]).view(3, 1, 1) + 5
    compared = BlockWise().comparison([torch.rand(16, 5, 4, 4)], [maps])
    with torch.no_grad():
        compared.adapters[0].zero_()[range(3), range(3)] = 1
    logits = (torch.zeros(16, 10), torch.zeros(16, 10))

    def apart(ours: torch.Tensor, theirs: torch.Tensor) -> float:
        return compared(Compared([ours], [theirs], logits, None)).item()

    assert apart(scaled, maps) == pytest.approx(0, abs=1e-2)
    assert apart(scaled, nn.functional.interpolate(maps, scale_factor=2)) == pytest.approx(0, abs=1e-2)
    assert apart(torch.rand(16, 3, 4, 4), maps) == pytest.approx(2, abs=0.5)


def test_a_training_that_goes_on_from_its_state_ends_with_the_same_weights():
    once, twice = untrained(), untrained()
    with SupernetTraining(once, lesson(BlockWise())) as training:
        first = training.epoch(0)
        state = {part: dict(held) for part, held in training.state().items()}
        state["tensors"] = {name: tensor.clone() for name, tensor in state["tensors"].items()}
        torch.save(state, file := digits().folder / "state.pt")
        assert training.epoch(1) < first, "the loss falls"
    with SupernetTraining(twice, lesson(BlockWise())) as training:
        training.put_back(torch.load(file, weights_only=True))
        training.epoch(1)
    assert all(torch.equal(once.tensors[name], twice.tensors[name]) for name in once.tensors)


def test_what_has_no_stages_is_refused():
    check_stages(space(), digits())
    with pytest.raises(ConfigError, match=r"space mlp has 0, and two .*: leave out --supervision blocks"):
        check_stages(space("mlp"), digits())
    narrow = space().build(space().smallest())
    with pytest.raises(ConfigError, match=r"the teacher has 0"):
        BlockWise().attached(narrow, _flat(), torch.rand(1, 1, 8, 8))


def _flat() -> Teacher:
    network = nn.Sequential(nn.Flatten(), nn.Linear(256, 20), nn.ReLU(), nn.Linear(20, 10))
    return ModuleTeacher(network, name="flat", classes=10, channels=1, resolution=16, fingerprint="f1")


def test_a_teacher_of_answers_only_is_refused():
    check_features(teacher())
    with pytest.raises(TeacherError, match=r"answers only: leave out --supervision blocks"):
        check_features(Ensemble([teacher()], [1.0], "mean"))
