"""Each schedule rule on generated shapes against torch: odd channels, strides, paddings, dilations, groups."""

import tempfile
from pathlib import Path

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from evaluators.compile.compiler import compile_network
from evaluators.compile.verify import verify
from evaluators.latency.host import HostDevice
from hw_profiles.profile import load_profile

few = settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
sizes, channels, batches = st.integers(3, 17), st.integers(1, 40), st.integers(1, 3)
activations = st.sampled_from([nn.Identity, nn.ReLU, nn.ReLU6, nn.Hardswish, nn.SiLU])


def check(layer: nn.Module, activation: type[nn.Module], shape: tuple[int, ...], threads: int) -> None:
    network = nn.Sequential(layer, activation())
    profile = load_profile("x86-host").with_threads(threads)
    device = HostDevice(profile)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    with tempfile.TemporaryDirectory() as folder:
        library = compile_network(network, x, profile, Path(folder) / "layer.so").library
        assert verify(network, lambda batch: device.run(library, batch), x, len(x)) < 1e-5


@st.composite
def windows(draw, height: int, width: int) -> dict[str, int | tuple[int, int]]:
    kernel = tuple(draw(st.sampled_from([1, 2, 3, 5, 7])) for _ in range(2))
    padding = tuple(draw(st.integers(0, size // 2)) for size in kernel)
    dilation = draw(st.integers(1, 2))
    fitting = [
        size if (size - 1) * dilation < extent + 2 * pad else 1
        for size, pad, extent in zip(kernel, padding, (height, width), strict=True)
    ]
    return {
        "kernel_size": tuple(fitting),
        "stride": draw(st.integers(1, 3)),
        "padding": padding if fitting == list(kernel) else 0,
        "dilation": dilation,
        "bias": draw(st.booleans()),
    }


@few
@given(st.data())
def test_dense_convolution(data: st.DataObject) -> None:
    batch, inputs, outputs = data.draw(batches), data.draw(channels), data.draw(channels)
    height, width = data.draw(sizes), data.draw(sizes)
    layer = nn.Conv2d(inputs, outputs, **data.draw(windows(height, width)))
    check(layer, data.draw(activations), (batch, inputs, height, width), 1)


@few
@given(st.data())
def test_pointwise_convolution(data: st.DataObject) -> None:
    batch, inputs, outputs = data.draw(batches), data.draw(channels), data.draw(channels)
    shape = (batch, inputs, data.draw(sizes), data.draw(sizes))
    check(nn.Conv2d(inputs, outputs, 1), data.draw(activations), shape, 1)


@few
@given(st.data())
def test_depthwise_convolution(data: st.DataObject) -> None:
    batch, count, height, width = data.draw(batches), data.draw(channels), data.draw(sizes), data.draw(sizes)
    layer = nn.Conv2d(count, count, groups=count, **data.draw(windows(height, width)))
    check(layer, data.draw(activations), (batch, count, height, width), 1)


@few
@given(st.data())
def test_grouped_convolution(data: st.DataObject) -> None:
    groups, inputs, outputs = (
        data.draw(st.integers(2, 4)),
        data.draw(st.integers(1, 8)),
        data.draw(st.integers(1, 8)),
    )
    height, width = data.draw(sizes), data.draw(sizes)
    layer = nn.Conv2d(groups * inputs, groups * outputs, groups=groups, **data.draw(windows(height, width)))
    check(layer, data.draw(activations), (1, groups * inputs, height, width), 1)


@few
@given(st.data())
def test_convolution_along_a_line(data: st.DataObject) -> None:
    groups = data.draw(st.sampled_from([1, 1, 2, 3, 16]))
    each = 1 if groups == 16 else data.draw(st.integers(1, 24))
    kernel, dilation = data.draw(st.integers(1, 10)), data.draw(st.integers(1, 2))
    padding, length = data.draw(st.integers(0, kernel // 2)), data.draw(st.integers(20, 70))
    layer = nn.Conv1d(
        groups * each, groups * each, kernel, data.draw(st.integers(1, 5)), padding, dilation, groups
    )
    check(layer, data.draw(activations), (data.draw(batches), groups * each, length), data.draw(st.integers(1, 2)))


@few
@given(st.data())
def test_transposed_convolution(data: st.DataObject) -> None:
    groups = data.draw(st.sampled_from([1, 1, 2, 3]))
    inputs, outputs = (groups * data.draw(st.sampled_from([1, 4, 5, 16, 21])) for _ in "io")
    kernel, dilation = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 3))
    stride = data.draw(st.integers(1, 3))
    padding = data.draw(st.integers(0, dilation * (kernel - 1) // 2))
    more = data.draw(st.integers(0, stride - 1))
    layer = nn.ConvTranspose2d(
        inputs, outputs, kernel, stride, padding, more, groups, data.draw(st.booleans()), dilation
    )
    shape = (data.draw(batches), inputs, data.draw(sizes), data.draw(sizes))
    check(layer, data.draw(activations), shape, data.draw(st.integers(1, 2)))


def test_depthwise_transposed_convolution() -> None:
    check(nn.ConvTranspose2d(19, 19, 4, 2, 1, groups=19), nn.ReLU, (1, 19, 9, 7), 1)


def test_transposed_convolution_along_a_line() -> None:
    check(nn.ConvTranspose1d(6, 20, 5, 3, 1, 2, 2, dilation=2), nn.SiLU, (2, 6, 23), 1)


@few
@given(st.data())
def test_grouped_convolution_by_vectors(data: st.DataObject) -> None:
    groups, inputs = data.draw(st.integers(2, 4)), data.draw(st.integers(1, 8))
    outputs = data.draw(st.sampled_from([4, 8, 12, 24]))
    height, width = data.draw(sizes), data.draw(sizes)
    layer = nn.Conv2d(groups * inputs, groups * outputs, groups=groups, **data.draw(windows(height, width)))
    check(layer, data.draw(activations), (2, groups * inputs, height, width), data.draw(st.integers(1, 2)))


@few
@given(batches, st.integers(1, 200), st.integers(1, 70), st.booleans(), activations)
def test_dense_layer(batch: int, inputs: int, outputs: int, bias: bool, activation: type[nn.Module]) -> None:
    check(nn.Linear(inputs, outputs, bias), activation, (batch, inputs), 1)


def test_kernels_large_enough_for_threads() -> None:
    threads = load_profile("x86-host").cores
    check(nn.Conv2d(20, 70, 3, padding=1), nn.ReLU, (2, 20, 31, 29), threads)
    check(nn.Conv2d(70, 70, 5, 2, padding=2, groups=70), nn.ReLU, (1, 70, 61, 59), threads)
    check(nn.Linear(1000, 1001), nn.ReLU, (3, 1000), threads)
    check(nn.MaxPool2d(3, 2, 1), nn.Sigmoid, (1, 24, 90, 91), threads)
