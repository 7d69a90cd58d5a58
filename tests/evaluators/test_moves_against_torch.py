"""Transposes, resizing, concatenation, gates and reductions against torch."""

import itertools
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from evaluators.compile.compiler import compile_network
from evaluators.compile.verify import verify
from evaluators.latency.host import HostDevice
from hw_profiles.profile import load_profile

few = settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


class Function(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def check(function: Callable[[Tensor], Tensor], shape: tuple[int, ...], threads: int = 1) -> None:
    network = Function(function)
    profile = load_profile("x86-host").with_threads(threads)
    device = HostDevice(profile)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    with tempfile.TemporaryDirectory() as folder:
        library = compile_network(network, x, profile, Path(folder) / "layer.so").library
        assert verify(network, lambda batch: device.run(library, batch), x, len(x)) < 1e-5


@few
@given(st.lists(st.sampled_from([1, 2, 3, 7, 8, 16, 18, 40]), min_size=2, max_size=4), st.randoms())
def test_any_permutation(shape: list[int], random) -> None:
    axes = list(range(len(shape)))
    random.shuffle(axes)
    check(lambda x: x.permute(axes).contiguous() * 2, tuple(shape))


def test_a_transpose_large_enough_for_threads() -> None:
    check(lambda x: x.flatten(2).transpose(1, 2), (1, 150, 64, 60), load_profile("x86-host").cores)


SIZES = [(13, 9), (4, 10), (1, 20)]
MODES = [{"mode": mode} for mode in ("bilinear", "nearest", "bicubic")]
MODES.append({"mode": "bilinear", "align_corners": True})


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: "-".join(map(str, mode.values())))
def test_resizing(mode: dict[str, object]) -> None:
    def pyramid(x: Tensor) -> Tensor:
        return torch.cat([functional.interpolate(x, size, **mode).flatten(1) for size in SIZES], 1)

    check(pyramid, (2, 5, 6, 10))


@few
@given(st.lists(st.integers(1, 40), min_size=2, max_size=4), st.integers(1, 3), st.booleans())
def test_concatenation(channels: list[int], axis: int, activated: bool) -> None:
    def parts(x: Tensor) -> Tensor:
        cut = [x.narrow(axis, 0, count) + index for index, count in enumerate(channels)]
        return torch.cat([part.sigmoid() for part in cut] if activated else cut, axis)

    check(parts, (1, 40, 40, 40))


REDUCTIONS = ["sum", "mean", "amax", "amin", "argmax", "cumsum", "softmax", "prod", "std"]


@pytest.mark.parametrize(("name", "axis"), itertools.product(REDUCTIONS, [1, 3]))
def test_reductions(name: str, axis: int) -> None:
    check(lambda x: getattr(torch, name)(x * 0.5, axis).float(), (2, 9, 5, 19))


def test_gates_of_an_image() -> None:
    check(lambda x: x.relu() * x.mean((2, 3), keepdim=True).sigmoid() * x.amax(1, keepdim=True), (2, 20, 9, 7))


def test_running_counts_of_booleans_are_whole_numbers() -> None:
    check(lambda x: ((x > 0).cumsum(1) + (x > -3).cumprod(1)).float(), (2, 9, 5))


def test_masks_of_constant_positions() -> None:
    def packed(x: Tensor) -> Tensor:
        starts = torch.diff(torch.arange(9)[None], prepend=torch.zeros(1, 1, dtype=torch.int64)) != 1
        part = starts.cumsum(-1)
        return x + (part[:, :, None] == part[:, None, :]).float()[:, [0, 3, 8]]

    check(packed, (2, 3, 9))
