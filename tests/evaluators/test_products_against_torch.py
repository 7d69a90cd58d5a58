"""Products of matrices on generated shapes against torch: odd sizes, batches, strides, fused work."""

import dataclasses
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from evaluators.compile.compiler import compile_network
from evaluators.compile.products import Product, ProductTile, product_options
from evaluators.compile.verify import compare, expected_outputs
from evaluators.latency.host import HostDevice
from hw_profiles.profile import load_profile

few = settings(max_examples=6, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
odd = st.sampled_from([1, 2, 3, 5, 7, 8, 9, 13, 16, 17, 24, 31, 40, 49, 67])


class Residual(nn.Module):
    """A dense layer, something added to its output, and a function of the sum."""

    def __init__(self, layer: nn.Linear, activation: nn.Module) -> None:
        super().__init__()
        self.layer, self.activation = layer, activation

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        return self.activation(self.layer(x) + other)


class Gate(nn.Module):
    """Squeeze and excite without the squeeze: a small product multiplies a large image."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layer = nn.Conv2d(channels, channels, 1)

    def forward(self, few: Tensor, image: Tensor) -> Tensor:
        return torch.sigmoid(self.layer(few)) * image


class Matmul(nn.Module):
    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return torch.matmul(left, right) * 0.5


def check(network: nn.Module, shapes: list[tuple[int, ...]], threads: int = 1) -> None:
    random = torch.Generator().manual_seed(0)
    inputs = tuple(torch.randn(shape, generator=random) for shape in shapes)
    profile = load_profile("x86-host").with_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        library = compile_network(network, inputs, profile, Path(folder) / "product.so").library
        computed = HostDevice(profile).run(library, tuple(each.numpy() for each in inputs))
    assert compare(expected_outputs(network, *inputs), computed) < 1e-5


@few
@given(odd, odd, odd, st.sampled_from([nn.Identity, nn.ReLU, nn.GELU, nn.SiLU]), st.booleans())
@example(197, 48, 40, nn.GELU, True)
def test_dense_layer(rows: int, inner: int, columns: int, activation: type[nn.Module], bias: bool) -> None:
    check(nn.Sequential(nn.Linear(inner, columns, bias), activation()), [(rows, inner)])


@few
@given(st.lists(st.integers(1, 6), min_size=1, max_size=3), odd, odd)
def test_dense_layer_with_residual(outer: list[int], inner: int, columns: int) -> None:
    check(Residual(nn.Linear(inner, columns), nn.ReLU()), [(*outer, inner), (*outer, columns)])


@few
@given(odd, odd, st.integers(1, 9), st.integers(1, 9), st.integers(1, 2), st.integers(1, 3))
def test_pointwise_convolution(inner: int, columns: int, height: int, width: int, batch: int, stride: int) -> None:
    layers = nn.Sequential(nn.Conv2d(inner, columns, 1, stride), nn.ReLU6(), nn.Conv2d(columns, inner, 1))
    check(layers, [(batch, inner, height, width)])


@few
@given(odd, st.integers(1, 9), st.integers(1, 9), st.integers(1, 2))
def test_product_behind_which_a_larger_result_is_computed(
    channels: int, height: int, width: int, batch: int
) -> None:
    check(Gate(channels), [(batch, channels, 1, 1), (batch, channels, height, width)])


@few
@given(
    st.sampled_from([((), ()), ((3,), (3,)), ((2, 3), (2, 3)), ((4,), ()), ((), (2,)), ((2, 1), (3,))]),
    odd,
    odd,
    odd,
)
@example(((2,), (2,)), 67, 17, 31)
def test_product_of_activations(
    batches: tuple[tuple[int, ...], tuple[int, ...]], rows: int, inner: int, columns: int
) -> None:
    left, right = batches
    check(Matmul(), [(*left, rows, inner), (*right, inner, columns)])


def test_products_over_threads() -> None:
    threads = load_profile("x86-host").cores
    check(Residual(nn.Linear(300, 301), nn.GELU()), [(1, 97, 300), (1, 97, 301)], threads)
    check(nn.Linear(2000, 1001), [(1, 2000)], threads)
    check(Matmul(), [(3, 130, 65), (3, 65, 131)], threads)


@pytest.mark.parametrize("name", ["x86-host", "x86-64-avx2", "x86-64-avx512", "rpi5"])
@pytest.mark.parametrize(
    "product", [Product(1, 1, 1), Product(197, 768, 192), Product(1, 1280, 10), Product(49, 3, 7, 12)]
)
def test_options_fit_the_product_and_the_registers(name: str, product: Product) -> None:
    profile = load_profile(name)
    options = product_options(product, profile)
    assert len(options) == len({tuple(option.items()) for option in options}) <= 24
    for tile in (ProductTile(**option) for option in options):
        assert 1 <= tile.rows <= product.rows
        assert 1 <= tile.columns <= product.columns
        assert tile.rows * tile.vectors * tile.chains < profile.vector_registers
        assert tile.lanes * 32 <= profile.vector_bits


def test_long_products_fill_the_registers() -> None:
    profile = dataclasses.replace(load_profile("x86-64-avx2"), l2_bytes=2**19, l3_bytes=2**25)
    options = product_options(Product(132, 768, 768), profile)
    assert options[0]["rows"] * options[0]["vectors"] == 12
