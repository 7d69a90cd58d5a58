"""Sub-networks are plain networks whose parameters are parts of shared tensors."""

from __future__ import annotations

import functools
import random
from pathlib import Path

import pytest
import torch
from torch.func import functional_call

from spaces.catalogue import load_space
from spaces.choice import Choice
from spaces.precision import MixedPrecision
from spaces.space import first_choice, random_choice
from spaces.supernet import Supernet, holders
from understudy import SpaceError

OWN = f"{Path(__file__).with_name('own_space.py')}:Own"
SPACES = ("mobile", "residual", "mlp", OWN)


@functools.cache
def supernet(spec: str) -> Supernet:
    space = load_space(spec, channels=1, image_size=8, classes=3)
    torch.manual_seed(0)
    return Supernet.untrained(space)


def choices(spec: str, count: int) -> list[Choice]:
    generator = random.Random(0)
    return [random_choice(supernet(spec).space, generator) for _ in range(count)]


def images(spec: str, choice: Choice) -> torch.Tensor:
    size = supernet(spec).space.resolution(choice)
    return torch.rand(4, 1, size, size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("spec", SPACES)
def test_every_choice_is_a_part_and_is_what_the_space_builds(spec):
    shared = supernet(spec)
    for choice in [*choices(spec, 3), shared.largest, first_choice(shared.space)]:
        inherited, built = shared.inherit(choice), shared.space.build(choice)
        assert str(inherited) == str(built)
        assert inherited.state_dict().keys() == built.state_dict().keys()


def test_holders_are_the_sub_networks_that_have_a_weight():
    """The largest perceptron has all weights, so that the counts are as many as both have parameters."""
    shared = supernet("mlp")
    both = [shared.sub_network(choice) for choice in (shared.largest, shared.smallest)]
    counts = holders(both)
    assert len(counts) == len(shared.tensors)
    parameters = sum(parameter.numel() for sub in both for parameter in sub.network.parameters())
    assert sum(int(count.sum()) for count in counts.values()) == parameters
    assert {int(value) for count in counts.values() for value in count.unique()} == {1, 2}


@pytest.mark.parametrize("spec", SPACES)
def test_gradients_come_back_as_through_slices(spec):
    """Autograd through slices of the shared tensors is the independent judge."""
    shared = supernet(spec)
    choice = choices(spec, 1)[0]
    sub = shared.sub_network(choice)
    sub.network.eval()  # no dropout, and norms of known statistics
    sliced = {
        name: tensor[index]
        for (name, _), (_, tensor, index) in zip(sub.network.named_parameters(), sub.parts, strict=True)
    }
    loss = functional_call(sub.network, sliced, (images(spec, choice),)).square().sum()
    tensors = list(shared.tensors.values())
    expected = torch.autograd.grad(loss, tensors, allow_unused=True)
    sub.network(images(spec, choice)).square().sum().backward()
    sub.hand_back()
    for tensor, gradient in zip(tensors, expected, strict=True):
        if gradient is None:
            assert tensor.grad is None
        else:
            torch.testing.assert_close(tensor.grad, gradient)
        tensor.grad = None
    assert all(parameter.grad is None for parameter in sub.network.parameters())


def test_a_kernel_is_the_middle_of_the_largest():
    shared = supernet("mobile")
    small = Choice({**shared.largest, "stages.0.kernel": 3, "stages.0.width": 8})
    weight = shared.inherit(small).get_parameter("stages.0.0.depthwise.conv.weight")
    whole = shared.tensors["stages.0.0.depthwise.conv.weight:Conv2d"]
    assert whole.shape[2:] == (7, 7)
    assert torch.equal(weight, whole[: len(weight), :, 2:5, 2:5])


def test_layer_choices_share_nothing_and_depths_their_first_blocks():
    shared = supernet("residual")
    basic, bottleneck = (
        shared.inherit(Choice({**shared.largest, "stages.1.block": kind})) for kind in ("basic", "bottleneck")
    )
    name = "stages.1.0.branch.0.conv.weight"
    assert basic.get_parameter(name).shape != bottleneck.get_parameter(name).shape
    owners = [
        key
        for key in shared.tensors
        if key.startswith("stages.1.0.branch") and key.endswith("0.conv.weight:Conv2d")
    ]
    assert owners == [
        f"stages.1.0.branch[stages.1.block={kind}].0.conv.weight:Conv2d" for kind in ("basic", "bottleneck")
    ]
    shallow = shared.inherit(Choice({**shared.largest, "stages.1.depth": 1}))
    stem = shared.inherit(shared.largest).stages[1][0].state_dict()
    assert all(torch.equal(value, stem[key]) for key, value in shallow.stages[1][0].state_dict().items())


def test_training_a_part_leaves_the_rest_alone():
    shared = supernet("mobile")
    small = first_choice(shared.space)
    sub = shared.sub_network(small)
    sub.network(images("mobile", small)).sum().backward()
    sub.hand_back()
    touched = {name: tensor.grad for name, tensor in shared.tensors.items() if tensor.grad is not None}
    stem = touched["stages.1.0.project.conv.weight:Conv2d"]
    width = sub.network.get_parameter("stages.1.0.project.conv.weight").shape
    assert stem[: width[0], : width[1]].abs().sum() > 0
    assert stem[width[0] :].abs().sum() == 0
    assert not any("squeeze=yes" in name for name in touched)
    for tensor in shared.tensors.values():
        tensor.grad = None


def test_what_is_more_than_an_architecture_is_refused():
    space = load_space(OWN, channels=1, image_size=8, classes=3)
    with pytest.raises(SpaceError, match="leave out --quantise mixed"):
        Supernet.untrained(MixedPrecision(space))


CHANGING = """
from torch import nn
from nni.nas.nn.pytorch import ModelSpace
import nni
from nni.mutable import ensure_frozen

class Changing(ModelSpace):
    def __init__(self, channels, image_size, classes):
        super().__init__()
        deep = nni.choice("deep", [0, 1])
        self.add_mutable(deep)
        size = channels * image_size * image_size
        self.flat = nn.Flatten()
        if ensure_frozen(deep):
            self.hidden, self.last = nn.Linear(size, 9), nn.Linear(9, classes)
        else:
            self.hidden, self.only = nn.Identity(), nn.Linear(size, classes)

    def forward(self, images):
        return getattr(self, "last" if hasattr(self, "last") else "only")(self.hidden(self.flat(images)))
"""


def test_networks_that_differ_in_more_than_sizes_are_refused(tmp_path):
    file = tmp_path / "changing.py"
    file.write_text(CHANGING)
    shared = Supernet.untrained(load_space(f"{file}:Changing", channels=1, image_size=8, classes=3))
    with pytest.raises(SpaceError, match=r"Declare what differs with LayerChoice"):
        shared.inherit({"deep": 0})
