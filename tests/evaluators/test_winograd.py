"""Winograd convolutions against torch: odd sizes, channels, paddings, batches, blocks of tiles, epilogues."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from evaluators.compile.choices import Choice, Chooser, KernelKey
from evaluators.compile.compiler import compile_network
from evaluators.compile.kernels.cook_toom import POINTS, minimal_filter
from evaluators.compile.legalize.winograd_model import DIRECT, Sizes, options
from evaluators.compile.verify import verify
from evaluators.latency.host import HostDevice
from hw_profiles.profile import load_profile

few = settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
channels, sizes = st.integers(1, 40), st.integers(1, 19)


class Block(nn.Module):
    """A convolution, the sum with its input, an activation."""

    def __init__(self, channels: int, activation: type[nn.Module]) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, channels, 3, padding=1)
        self.activation = activation()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.convolution(x) + x)


def always(choice: Choice) -> Chooser:
    """Winograd with that choice wherever it can be, for everything else the first option."""

    def choose(key: KernelKey, offered: Sequence[Choice]) -> Choice:
        return choice if key.kind == "winograd" else offered[0]

    return choose


def error(network: nn.Module, x: Tensor, choice: Choice, threads: int = 1) -> float:
    profile = load_profile("x86-host").with_threads(threads)
    device = HostDevice(profile)
    with tempfile.TemporaryDirectory() as folder:
        library = compile_network(network, x, profile, Path(folder) / "layer.so", always(choice)).library
        return verify(network, lambda batch: device.run(library, batch), x, len(x))


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@st.composite
def choices(draw: st.DrawFn) -> Choice:
    rows, columns = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    height = draw(st.integers(1, min(6, rows * columns)))
    lanes = {"vectors": draw(st.integers(1, 2)), "lanes": draw(st.sampled_from([4, 8]))}
    ways = {"m": draw(st.sampled_from(list(POINTS))), "rows": rows, "columns": columns}
    return {**ways, "groups": draw(st.integers(1, 2)), "height": height, **lanes}


@pytest.mark.parametrize("m", POINTS)
def test_minimal_filter_is_a_correlation(m: int) -> None:
    matrices = minimal_filter(m)
    data, taps = np.arange(m + 2) ** 2.0, np.array([3.0, -1.0, 2.0])
    products = np.array(matrices.weights) @ taps * (np.array(matrices.inputs) @ data)
    np.testing.assert_allclose(np.array(matrices.outputs) @ products, np.correlate(data, taps, "valid"))


@few
@given(st.integers(1, 3), channels, channels, sizes, sizes, st.integers(0, 2), choices())
def test_convolution(
    batch: int, inputs: int, outputs: int, height: int, width: int, padding: int, choice: Choice
) -> None:
    padding = max(padding, -((min(height, width) - 3) // 2))
    network = nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=padding), nn.ReLU())
    assert error(network, noise(batch, inputs, height, width), choice) < 1e-5


@few
@given(channels, sizes, st.sampled_from([nn.Identity, nn.ReLU6, nn.Hardswish, nn.SiLU, nn.GELU]), choices())
def test_residual_block(count: int, size: int, activation: type[nn.Module], choice: Choice) -> None:
    assert error(Block(count, activation), noise(1, count, size, size + 1), choice) < 1e-5


def test_all_threads_with_the_models_own_choice() -> None:
    threads = load_profile("x86-host").cores
    for channels, size in ((48, 28), (96, 8)):
        best = options(Sizes(1, channels, channels, size, size), load_profile("x86-host").with_threads(threads))[0]
        assert best != DIRECT
        assert error(Block(channels, nn.ReLU), noise(1, channels, size, size), best, threads) < 1e-5


def test_model_asks_for_a_clear_win() -> None:
    profile = load_profile("x86-host").with_threads(1)
    assert options(Sizes(1, 64, 64, 56, 56), profile)[0]["m"] == 4
    assert options(Sizes(1, 512, 512, 7, 7), profile)[0] == DIRECT
    assert options(Sizes(1, 3, 64, 224, 224), profile) == [DIRECT]
    assert DIRECT in options(Sizes(1, 64, 64, 56, 56), profile)
