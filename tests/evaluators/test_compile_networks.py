"""Whole networks through the compiler, against torch."""

import itertools
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from evaluators.compile.compiler import Compiled, compile_network
from evaluators.compile.verify import compare, expected_outputs, verify
from evaluators.latency.host import HostDevice
from hw_profiles.profile import Profile, load_profile


class SqueezeExcite(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.gate = nn.Sequential(
            nn.Conv2d(channels, 4, 1), nn.ReLU(), nn.Conv2d(4, channels, 1), nn.Hardsigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(self.pool(x))


class Residual(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.body(x))


class Split(nn.Module):
    """Concatenation and a channel shuffle, as in ShuffleNet."""

    def forward(self, x: Tensor) -> Tensor:
        left, right = x.chunk(2, dim=1)
        both = torch.cat((left, torch.tanh(right)), dim=1)
        batch, channels, height, width = both.shape
        return both.view(batch, 2, channels // 2, height, width).transpose(1, 2).reshape(both.shape)


class Odd(nn.Module):
    """In-place changes with the old value still in use, and a view changed in place."""

    def forward(self, x: Tensor) -> Tensor:
        y = x * 2
        z = y.relu_() + y
        w = z.flatten(1)
        w.add_(1)
        return w + z.flatten(1)


def convolution(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs))


def head(channels: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(channels, 10)]


NETWORKS = {
    "mobile": lambda: nn.Sequential(
        convolution(3, 12, 3, 2),
        nn.Hardswish(inplace=True),
        convolution(12, 36, 1),
        nn.ReLU6(inplace=True),
        convolution(36, 36, 5, 2, groups=36),
        nn.SiLU(),
        SqueezeExcite(36),
        convolution(36, 20, 1),
        Residual(nn.Sequential(convolution(20, 50, 1), nn.ReLU(), convolution(50, 20, 1))),
        *head(20),
    ),
    "residual": lambda: nn.Sequential(
        convolution(3, 16),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1),
        Residual(nn.Sequential(convolution(16, 16), nn.ReLU(inplace=True), convolution(16, 16))),
        nn.AvgPool2d(2),
        *head(16),
    ),
    "shuffle": lambda: nn.Sequential(
        convolution(3, 16), Split(), convolution(16, 24, groups=4), nn.GELU(), *head(24)
    ),
    "bias and norm": lambda: nn.Sequential(
        nn.Conv2d(3, 9, 3), nn.BatchNorm2d(9), nn.LeakyReLU(0.1), nn.GroupNorm(3, 9), nn.BatchNorm2d(9), *head(9)
    ),
    "perceptron": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(768, 33), nn.Tanh(), nn.Linear(33, 3), nn.Softmax(1)
    ),
    "in place": Odd,
}


def made(name: str) -> nn.Module:
    """The network with weights and running statistics from one seed."""
    torch.manual_seed(0)
    network = NETWORKS[name]()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return network


@pytest.fixture(scope="module")
def profile() -> Profile:
    return load_profile("x86-host").with_threads(1)


def compiled_and_checked(network: nn.Module, x: Tensor, profile: Profile, folder: Path) -> Compiled:
    compiled = compile_network(network, x, profile, folder / "student.so")
    device = HostDevice(profile)
    assert verify(network, lambda batch: device.run(compiled.library, batch), x, len(x)) < 1e-5
    return compiled


@pytest.mark.parametrize(("name", "batch"), zip(NETWORKS, itertools.cycle((1, 2)), strict=False))
def test_equals_torch(name: str, batch: int, profile: Profile, tmp_path: Path) -> None:
    x = torch.randn(batch, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    compiled = compiled_and_checked(made(name), x, profile, tmp_path)
    assert compiled.input_shape == (batch, 3, 16, 16)
    assert compiled.size_bytes == compiled.library.stat().st_size
    assert set(compiled.seconds) == {"export", "lower", "link"}


def test_all_threads_give_the_same(tmp_path: Path) -> None:
    profile = load_profile("x86-host")
    network = nn.Sequential(convolution(3, 64, 3), nn.ReLU(), convolution(64, 64, 5, groups=64), *head(64))
    compiled_and_checked(network, torch.randn(1, 3, 64, 64), profile, tmp_path)


class Tokens(nn.Module):
    """Three inputs of three dtypes, four outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 16)
        self.head = nn.Linear(16, 8)

    def forward(self, ids: Tensor, mask: Tensor, offset: Tensor) -> dict[str, Tensor]:
        hidden = (self.embedding(ids) + offset).masked_fill(mask[..., None], 0.0)
        return {"each": self.head(hidden), "all": hidden.mean(1), "first": ids.argmax(1), "high": ids > 3}


def test_several_inputs_and_outputs_of_any_dtype(profile: Profile, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network, ids = Tokens(), torch.randint(0, 50, (2, 7))
    inputs = (ids, torch.rand(2, 7) > 0.5, torch.randn(2, 7, 16))
    compiled = compile_network(network, inputs, profile, tmp_path / "student.so")
    assert [str(each) for each in compiled.inputs] == ["ids int64 2x7", "mask bool 2x7", "offset float32 2x7x16"]
    assert [each.dtype for each in compiled.outputs] == ["float32", "float32", "int64", "bool"]
    outputs = HostDevice(profile).run(compiled.library, tuple(each.numpy() for each in inputs))
    assert [(each.shape, str(each.dtype)) for each in outputs] == [
        (each.shape, each.dtype) for each in compiled.outputs
    ]
    assert compare(expected_outputs(network, *inputs), outputs) < 1e-6
    weights, given = 4 * (50 * 16 + 16 * 8 + 8), 8 * 14 + 14 + 4 * 14 * 16
    assert compiled.memory_bytes > weights + given


def test_the_network_is_left_as_it_is(profile: Profile, tmp_path: Path) -> None:
    network = made("mobile").train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    compile_network(network, torch.randn(1, 3, 16, 16), profile, tmp_path / "student.so")
    assert network.training
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_peak_memory_counts_weights_input_output_and_live_activations(profile: Profile, tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(8, 8, 1, bias=False), nn.ReLU(), nn.Conv2d(8, 8, 1, bias=False))
    x = torch.randn(1, 8, 16, 16)
    image, weights = 4 * 8 * 16 * 16, 2 * 4 * 8 * 8
    memory = compile_network(network, x, profile, tmp_path / "a.so").memory_bytes
    assert weights + 3 * image <= memory <= weights + 4 * image
    assert compile_network(network, x, profile, tmp_path / "b.so").memory_bytes == memory
