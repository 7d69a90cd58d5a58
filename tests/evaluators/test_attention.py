"""Attention against torch over generated sizes, masks and numbers of threads."""

import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from evaluators.compile.compiler import compile_network
from evaluators.compile.export import export_network, import_program
from evaluators.compile.graph.prepare import prepare
from evaluators.compile.verify import verify
from evaluators.latency.host import HostDevice
from hw_profiles.profile import load_profile

few = settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


class Attend(nn.Module):
    """Attention of an input to keys and values that depend on it, with a mask over them."""

    def __init__(self, heads: int, keys: int, values: int, channels: int, mask: str, scale: float | None) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.key = nn.Parameter(torch.randn(1, heads, keys, channels, generator=generator))
        self.value = nn.Parameter(torch.randn(1, heads, keys, values, generator=generator))
        self.heads, self.mask, self.scale = heads, mask, scale

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, channels = x.shape
        query = x.view(batch, tokens, self.heads, channels // self.heads).transpose(1, 2)
        mean = x.mean((1, 2)).view(-1, 1, 1, 1)
        mixed = nn.functional.scaled_dot_product_attention(
            query,
            self.key * (1 + mean),
            self.value + mean,
            attn_mask=self._mask(tokens),
            is_causal=self.mask == "causal",
            scale=self.scale,
        )
        return mixed.transpose(1, 2).flatten(2)

    def _mask(self, tokens: int) -> Tensor | None:
        places = torch.arange(tokens).view(-1, 1) + 2 * torch.arange(self.key.shape[2])
        if self.mask == "added":
            return torch.sin(places.float()).view(1, 1, tokens, -1)
        return places % 3 != 0 if self.mask == "boolean" else None


def check(network: nn.Module, x: Tensor, threads: int) -> None:
    profile = load_profile("x86-host").with_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        library = compile_network(network, x, profile, Path(folder) / "layer.so").library
        assert verify(network, lambda batch: HostDevice(profile).run(library, batch), x, len(x)) < 1e-5


@few
@given(st.data())
def test_any_sizes(data: st.DataObject) -> None:
    heads, queries, keys = (data.draw(st.integers(1, most)) for most in (4, 40, 40))
    channels, batch = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 2))
    values = data.draw(st.integers(1, 40))
    mask = data.draw(st.sampled_from(("none", "added", "boolean", "causal")))
    network = Attend(heads, keys, values, channels, mask, data.draw(st.sampled_from((None, 0.3))))
    x = 3 * torch.randn(batch, queries, heads * channels, generator=torch.Generator().manual_seed(0))
    check(network, x, data.draw(st.integers(1, load_profile("x86-host").cores)))


@pytest.mark.parametrize("mask", ["none", "added", "boolean", "causal"])
def test_large_values_and_threads(mask: str) -> None:
    x = 30 * torch.randn(1, 197, 3 * 64, generator=torch.Generator().manual_seed(0))
    check(Attend(3, 197, 64, 64, mask, None), x, load_profile("x86-host").cores)


class Written(nn.Module):
    """Attention written as products and a softmax, as models do that call none, with a mask of so many axes."""

    mask: Tensor

    def __init__(self, axes: int) -> None:
        super().__init__()
        self.register_buffer("mask", torch.sin(torch.arange(13.0)).view(*(1,) * (axes - 1), -1))

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, channels = x.shape
        heads = x.view(batch, tokens, 2, channels // 2).transpose(1, 2)
        scores = heads @ (heads * 2).transpose(-1, -2) / 3 + self.mask
        return (scores.softmax(-1) @ (heads + 1)).transpose(1, 2).reshape(batch, tokens, channels)


@pytest.mark.parametrize("axes", [4, 2])
def test_attention_written_as_products_is_one_kernel(axes: int) -> None:
    x = torch.randn(2, 13, 24, generator=torch.Generator().manual_seed(0))
    assert (
        "R.nn.attention"
        in prepare(import_program(export_network(Written(axes), (x,))), load_profile("x86-host")).script()
    )
    check(Written(axes), x, 1)
