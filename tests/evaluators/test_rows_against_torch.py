"""Norms, softmax and reductions of generated sizes against torch."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from evaluators.compile.compiler import compile_network
from evaluators.compile.verify import verify
from evaluators.latency.host import HostDevice
from hw_profiles.profile import load_profile

few = settings(max_examples=4, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
lengths = st.one_of(st.integers(2, 70), st.sampled_from([96, 128, 257, 1000]))
rows = st.lists(st.integers(1, 9), min_size=1, max_size=3)


class Computed(nn.Module):
    def __init__(self, compute: Callable[[Tensor], Tensor], *layers: nn.Module) -> None:
        super().__init__()
        self.compute = compute
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.compute(x)


def check(network: nn.Module, shape: tuple[int, ...], threads: int = 1, scale: float = 1.0) -> None:
    profile = load_profile("x86-host").with_threads(threads)
    device = HostDevice(profile)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=generator) * scale + 0.5
    for parameter in network.parameters():
        nn.init.normal_(parameter, 1.0, 0.3, generator=generator)
    with tempfile.TemporaryDirectory() as folder:
        library = compile_network(network, x, profile, Path(folder) / "rows.so").library
        assert verify(network, lambda batch: device.run(library, batch), x, len(x)) < 1e-5


@few
@given(rows, lengths, st.sampled_from([nn.Identity, nn.GELU]), st.integers(1, 2))
def test_layer_norm(shape: list[int], length: int, activation: type[nn.Module], threads: int) -> None:
    check(nn.Sequential(nn.LayerNorm(length), activation()), (*shape, length), threads)


@few
@given(rows, lengths)
def test_rms_norm(shape: list[int], length: int) -> None:
    check(nn.RMSNorm(length, eps=1e-6), (*shape, length))


@few
@given(rows, lengths, st.booleans())
def test_softmax(shape: list[int], length: int, logarithm: bool) -> None:
    softmax = torch.log_softmax if logarithm else torch.softmax
    check(Computed(lambda x: softmax(x * 3, -1)), (*shape, length), scale=5.0)


@pytest.mark.parametrize("threads", [1, 2])
def test_softmax_of_many_rows(threads: int) -> None:
    check(Computed(lambda x: torch.softmax(x, -1)), (2, 200, 333), threads, scale=20.0)


@few
@given(rows, lengths, st.sampled_from(["sum", "mean", "amax", "amin", "std", "logsumexp"]), st.booleans())
def test_reductions_of_the_last_axis(shape: list[int], length: int, name: str, keepdim: bool) -> None:
    check(Computed(lambda x: getattr(torch, name)(x.abs() + 1.0, -1, keepdim=keepdim)), (*shape, length))


@few
@given(st.integers(1, 3), st.integers(1, 70), st.integers(2, 9), st.integers(2, 9))
def test_means_over_pixels(batch: int, channels: int, height: int, width: int) -> None:
    check(Computed(lambda x: x.relu().mean((2, 3), keepdim=True)), (batch, channels, height, width))


@few
@given(st.integers(1, 2), st.integers(1, 5), st.integers(1, 20), st.integers(2, 60))
def test_group_norm(batch: int, groups: int, channels: int, length: int) -> None:
    network = nn.Sequential(nn.GroupNorm(groups, groups * channels), nn.GELU())
    check(network, (batch, groups * channels, length), scale=0.5)
