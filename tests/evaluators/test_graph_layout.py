"""Data is moved where it must be and nowhere else, and means what it meant."""

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional
from tvm.relax.analysis import post_order_visit

from evaluators.compile.compiler import compile_network
from evaluators.compile.export import export_network, import_program
from evaluators.compile.graph.prepare import prepare
from evaluators.compile.graph.view import identity
from evaluators.compile.verify import verify
from evaluators.latency.host import HostDevice
from hw_profiles.profile import load_profile

FACTORS = [1, 2, 3, 4, 6]


@settings(deadline=None, derandomize=True)
@given(st.data())
def test_a_view_is_what_numpy_makes_of_the_same_moves(data: st.DataObject) -> None:
    shape = tuple(data.draw(st.lists(st.sampled_from(FACTORS), min_size=1, max_size=5)))
    stored = value = np.arange(math.prod(shape)).reshape(shape)
    view = identity(shape)
    for _ in range(data.draw(st.integers(0, 6))):
        if data.draw(st.booleans()):
            axes = data.draw(st.permutations(range(value.ndim)))
            value, view = value.transpose(axes), view.permute(axes)
        else:
            reshaped = tuple(data.draw(st.permutations(value.shape))) if data.draw(st.booleans()) else (-1,)
            shape = value.reshape(reshaped).shape
            changed = view.reshape(shape)
            value, view = (value, view) if changed is None else (value.reshape(shape), changed)
        assert (stored.reshape(view.atoms).transpose(view.order).reshape(view.shape) == value).all()


class Function(nn.Module):
    """A convolution to 12 channels, then some function."""

    def __init__(self, function: Callable[[Tensor], Tensor], *layers: nn.Module) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 12, 3, padding=1)
        self.function = function
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.first(x), *self.layers)


def shuffled(x: Tensor) -> Tensor:
    return x.view(1, 3, 4, *x.shape[2:]).transpose(1, 2).reshape(x.shape)


def patches(x: Tensor, norm: nn.Module, layer: nn.Module) -> Tensor:
    """Folded and unfolded as in MobileViT (Mehta and Rastegari, 2022)."""
    tall, wide = x.shape[2] // 2, x.shape[3] // 2
    y = x.reshape(12 * tall, 2, wide, 2).transpose(1, 2).reshape(1, 12, tall * wide, 4)
    y = layer(norm(y.transpose(1, 3).reshape(4, tall * wide, 12))) + y.transpose(1, 3).reshape(4, -1, 12)
    y = y.reshape(1, 4, tall * wide, 12).transpose(1, 3).reshape(12 * tall, wide, 2, 2)
    return y.transpose(1, 2).reshape(1, 12, 2 * tall, 2 * wide)


def tokens(x: Tensor, norm: nn.Module, layer: nn.Module, depthwise: nn.Module) -> Tensor:
    """To tokens, to an image for a depthwise convolution, and back, as in SegFormer (Xie et al., 2021)."""
    y = layer(norm(x.flatten(2).transpose(1, 2)))
    y = depthwise(y.transpose(1, 2).reshape(x.shape)).flatten(2).transpose(1, 2)
    return functional.gelu(y).mean(1)


def channels_first_norm(x: Tensor, norm: nn.Module) -> Tensor:
    return norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2).amax((2, 3))


def cat_and_split(x: Tensor) -> Tensor:
    left, right = x.chunk(2, 1)
    return torch.cat([right.relu(), left[:, 1:], shuffled(x)], 1)[:, :, ::2].mean((2, 3))


def gated(x: Tensor) -> Tensor:
    return (x * x.mean((2, 3), keepdim=True).sigmoid() + x.amax(1, keepdim=True)).mean(3)[:, 1]


def pools(x: Tensor) -> Tensor:
    return functional.adaptive_avg_pool2d(functional.max_pool2d(x, 2), (2, 1)).sum((2, 3))


def norm() -> nn.Module:
    layer = nn.LayerNorm(12)
    nn.init.normal_(layer.weight)
    return layer


GENTLE = {
    "flattened for a dense layer": (Function(lambda x, layer: layer(x.flatten(1)), nn.Linear(12 * 48, 5)), 1),
    "shuffled channels": (Function(lambda x: shuffled(x).mean((2, 3))), 2),
    "patches": (Function(lambda *x: patches(*x).mean((2, 3)), norm(), nn.Linear(12, 12)), 2),
    "tokens": (Function(tokens, norm(), nn.Linear(12, 12), nn.Conv2d(12, 12, 3, 1, 1, groups=12)), 1),
    "layer norm of channels": (Function(channels_first_norm, norm()), 1),
    "cat and split": (Function(cat_and_split), 2),
    "gates": (Function(gated), 1),
    "prelu": (Function(lambda x, layer: layer(x).mean((2, 3)), nn.PReLU(12)), 1),
    "group norm": (Function(lambda x, layer: layer(x).amax((2, 3)), nn.GroupNorm(3, 12)), 1),
    "pools": (Function(pools), 1),
    "resized": (
        Function(lambda x: functional.interpolate(x, size=(13, 9), mode="bilinear").amax((2, 3))),
        1,
    ),
    "padded": (Function(lambda x: functional.pad(x, (1, 2, 0, 1), value=2.0).mean((2, 3))), 1),
    "pixel shuffle": (Function(lambda x: functional.pixel_shuffle(x, 2).mean(1)), 2),
    "sequence": (Function(lambda x, layer: layer(x.flatten(2)).mean(2), nn.Conv1d(12, 6, 3, 2, 1)), 1),
    "largest": (Function(lambda x: x.mean(3).softmax(1) + x.argmax(1)[:, :1].float().mean(2)[:, None]), 2),
}
"""Networks, and how many passes over data the moves may cost, that of the image included."""


@pytest.mark.parametrize(("network", "moves"), GENTLE.values(), ids=GENTLE)
def test_moves_meet_and_vanish(network: nn.Module, moves: int, tmp_path: Path) -> None:
    x = torch.randn((1, 3, 6, 8), generator=torch.Generator().manual_seed(0))
    profile = load_profile("x86-host").with_threads(1)
    graph = prepare(import_program(export_network(network, (x,))), load_profile("x86-host"))
    operators: list[str] = []
    post_order_visit(graph["main"], lambda e: operators.append(e.op.name) if hasattr(e, "op") else None)
    library = compile_network(network, x, profile, tmp_path / "layer.so").library
    device = HostDevice(profile)
    assert verify(network, lambda batch: device.run(library, batch), x) < 1e-5
    assert Counter(operators)["relax.permute_dims"] <= moves, graph
