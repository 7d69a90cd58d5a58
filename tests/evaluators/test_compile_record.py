"""Graphs recorded while torch runs are those of torch.export; what could differ is not recorded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import tvm
from torch import Tensor, nn

from evaluators.compile.compiler import compile_network
from evaluators.compile.export import _is_plain_node, export_network, import_network, import_program
from evaluators.compile.record import Recorded, record
from hw_profiles.profile import load_profile
from spaces.catalogue import load_space
from spaces.space import first_choice


class Tied(nn.Module):
    """Layers that share a weight, an activation in place, a shape read, two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(4, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 4, 3, padding="same")
        self.second.weight = self.first.weight
        self.norm = nn.BatchNorm2d(4)
        self.unused = nn.Linear(2, 2)

    def forward(self, images: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        first = nn.functional.relu(self.norm(self.first(images)), inplace=True)
        second = self.second(first) * scale
        return second.view(images.shape[0], -1), first


class Does(nn.Module):
    """A convolution, then what a test says."""

    def __init__(self, then: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 1)
        self.then = then

    def forward(self, x: Tensor) -> Tensor:
        return self.then(self.layer(x))


def small_student() -> nn.Module:
    space = load_space("mobile", channels=3, image_size=16, classes=5)
    return space.build(first_choice(space))


def recorded(network: nn.Module, *inputs: Tensor) -> Recorded | None:
    return record(network, inputs, _is_plain_node)


@pytest.mark.parametrize(
    ("network", "shapes"),
    [(Tied(), [(2, 4, 5, 5), (4, 1, 1)]), (small_student(), [(1, 3, 16, 16)])],
    ids=["tied", "student"],
)
def test_the_graph_is_that_of_torch_export(network: nn.Module, shapes: list[tuple[int, ...]]) -> None:
    inputs = tuple(torch.randn(shape) for shape in shapes)
    network.train()
    found = recorded(network, *inputs)
    assert found is not None
    assert all(module.training for module in network.modules())
    expected = import_program(export_network(network, inputs))["main"]
    main = import_program(found)["main"]
    assert [each.name for each in main.params] == [each.name for each in expected.params]
    tvm.ir.assert_structural_equal(main, expected)


@pytest.mark.parametrize(
    "then",
    [
        lambda y: y + 1 if y.sum() > 0 else y,
        lambda y: y * float(y.numpy().max()),
        lambda y: y * y.flatten().tolist()[0],
        lambda y: y + torch.tensor([1.0]),
        lambda y: y + torch.rand(1),
        lambda y: (y.flatten(), y.relu_())[0],
        lambda y: y.data.relu_() + y,
        lambda y: torch.linalg.pinv(y),
        lambda y: y.to(torch.float64),
    ],
    ids=["branch", "numpy", "list", "constant", "random", "seen in place", "data", "unknown", "cast"],
)
def test_what_is_not_plain_is_left_to_torch_export(then: Callable[[Tensor], Tensor]) -> None:
    network = Does(then)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    assert recorded(network, torch.randn(1, 3, 4, 4)) is None
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_an_input_is_not_changed_in_place() -> None:
    x = -torch.ones(1, 3, 4, 4)
    assert recorded(nn.ReLU(inplace=True), x) is None
    assert torch.equal(x, -torch.ones_like(x))


def test_an_input_handed_back_is_not_recorded() -> None:
    assert recorded(nn.Identity(), torch.randn(2, 3)) is None


def test_what_torch_export_folds_still_compiles(tmp_path: Path) -> None:
    network = Does(lambda y: y + torch.tensor([1.0]))
    x = torch.randn(1, 3, 4, 4)
    assert recorded(network, x) is None
    assert import_network(network, x)["main"] is not None
    compiled = compile_network(network, x, load_profile("x86-host").with_threads(1), tmp_path / "network.so")
    assert compiled.input_shape == (1, 3, 4, 4)
