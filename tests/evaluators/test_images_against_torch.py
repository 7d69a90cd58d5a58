"""Operators on images beside convolutions, on generated shapes against torch."""

import tempfile
from pathlib import Path

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional
from tvm.relax.analysis import post_order_visit

from evaluators.compile.compiler import compile_network, lower_kernels
from evaluators.compile.export import export_network, import_program
from evaluators.compile.graph.prepare import prepare
from evaluators.compile.kernel_times import list_kernels
from evaluators.compile.verify import verify
from evaluators.latency.host import HostDevice
from hw_profiles.profile import load_profile
from results.bundle.runner import CompiledStudent

few = settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
sizes, channels, batches, threads = st.integers(3, 17), st.integers(1, 40), st.integers(1, 3), st.integers(1, 2)


def check(network: nn.Module, shape: tuple[int, ...], threads: int) -> None:
    profile = load_profile("x86-host").with_threads(threads)
    device = HostDevice(profile)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    with tempfile.TemporaryDirectory() as folder:
        library = compile_network(network, x, profile, Path(folder) / "layer.so").library
        assert verify(network, lambda batch: device.run(library, batch), x, len(x)) < 1e-5


class Decoder(nn.Module):
    """Maps of several sizes, by a dense layer each or not, resized, side by side, mixed."""

    def __init__(self, widths: list[int], outputs: int, dense: bool, mode: str) -> None:
        super().__init__()
        self.stages = nn.ModuleList(nn.Conv2d(3, width, 3, 2**at, padding=1) for at, width in enumerate(widths))
        inner = [width + at for at, width in enumerate(widths)] if dense else widths
        self.dense = nn.ModuleList(map(nn.Linear, widths, inner)) if dense else None
        self.mix = nn.Sequential(nn.Conv2d(sum(inner), outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())
        self.mode = mode

    def forward(self, x: Tensor) -> Tensor:
        maps = [stage(x).relu() for stage in self.stages]
        if self.dense is not None:
            maps = [_of_tokens(layer, image) for layer, image in zip(self.dense, maps, strict=True)]
        mixed: Tensor = self.mix(
            torch.cat([functional.interpolate(image, x.shape[2:], mode=self.mode) for image in maps], 1)
        )
        return mixed


def _of_tokens(layer: nn.Module, image: Tensor) -> Tensor:
    tokens: Tensor = layer(image.flatten(2).transpose(1, 2)).transpose(1, 2)
    return tokens.reshape(len(image), -1, *image.shape[2:])


@few
@given(
    st.lists(st.integers(1, 20), min_size=1, max_size=3),
    st.integers(1, 20),
    st.booleans(),
    st.sampled_from(["bilinear", "bicubic", "nearest"]),
    st.tuples(batches, st.just(3), sizes, sizes),
    threads,
)
def test_channels_mixed_before_resizing(
    widths: list[int], outputs: int, dense: bool, mode: str, shape: tuple[int, ...], threads: int
) -> None:
    check(Decoder(widths, outputs, dense, mode), shape, threads)


def test_a_decoder_has_no_concatenation_and_small_products() -> None:
    network = Decoder([8, 12, 16], 20, dense=True, mode="bilinear")
    module = prepare(
        import_program(export_network(network, (torch.zeros(1, 3, 16, 16),))), load_profile("x86-host")
    )
    names: list[str] = []
    post_order_visit(module["main"], lambda e: names.append(e.op.name) if hasattr(e, "op") else None)
    assert "relax.concat" not in names
    assert names.count("relax.matmul") == 3
    assert names.count("relax.nn.conv2d") == 3
    assert names.count("relax.image.resize2d") == 2


class Merging(nn.Module):
    """Maps scaled up by copies, each added to what another kind of layer makes of fine ones."""

    def __init__(self) -> None:
        super().__init__()
        self.coarse = nn.ModuleList(nn.Conv2d(16, 16, 3, 2, padding=1) for _ in range(4))
        self.fine = nn.ModuleList(
            [
                nn.Conv2d(16, 16, 5, padding=2),
                nn.Conv2d(16, 16, 1),
                nn.Conv2d(16, 16, 3, padding=1),
                nn.Conv2d(16, 16, 3, padding=1, groups=16),
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        for coarse, fine in zip(self.coarse, self.fine, strict=True):
            x = (functional.interpolate(coarse(x), x.shape[2:], mode="nearest") + fine(x)).relu()
        return x


def test_maps_scaled_up_are_read_by_the_kernel_that_adds_them() -> None:
    profile = load_profile("x86-host").with_threads(1)
    module = import_program(export_network(Merging(), (torch.zeros(1, 16, 16, 16),)))
    rules = [each.rule for each in list_kernels(*lower_kernels(module, profile)) if "resize" in each.name]
    assert len(rules) == 4
    assert "fallback" not in rules
    check(Merging(), (2, 16, 13, 10), 2)


def test_average_pooling_over_all_is_a_mean() -> None:
    check(nn.Sequential(nn.AvgPool2d(5), nn.Flatten()), (2, 9, 5, 5), 1)


@few
@given(st.data())
def test_pooling(data: st.DataObject) -> None:
    kernel = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 5))
    padding = data.draw(st.integers(0, kernel[0] // 2)), data.draw(st.integers(0, kernel[1] // 2))
    stride, rounded_up = data.draw(st.integers(1, 3)), data.draw(st.booleans())
    if data.draw(st.booleans()):
        pool: nn.Module = nn.AvgPool2d(kernel, stride, padding, rounded_up, data.draw(st.booleans()))
    else:
        pool = nn.MaxPool2d(kernel, stride, padding, data.draw(st.integers(1, 2)), ceil_mode=rounded_up)
    shape = (
        data.draw(batches),
        data.draw(st.sampled_from([1, 3, 8, 40, 67])),
        *(data.draw(st.integers(9, 17)) for _ in "yx"),
    )
    check(nn.Sequential(nn.Hardtanh(), pool, nn.SiLU()), shape, data.draw(threads))


def test_large_pooling_on_several_cores() -> None:
    check(nn.MaxPool2d(3, 2, 1), (1, 64, 80, 81), 2)
    check(nn.Sequential(nn.AvgPool2d(3, 2, 1, count_include_pad=False), nn.ReLU()), (2, 72, 60, 61), 2)


class Beside(nn.Module):
    """Tensors along an axis, with element-wise work before and behind."""

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis = axis

    def forward(self, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        return torch.cat([x.relu(), torch.sigmoid(y), z * 2, x], self.axis) + 1


@few
@given(st.lists(st.integers(1, 21), min_size=3, max_size=3), st.integers(1, 3), st.sampled_from([3, 40]), threads)
def test_concatenation(counts: list[int], axis: int, size: int, threads: int) -> None:
    profile = load_profile("x86-host").with_threads(threads)
    shapes = [[count if at == axis else size for at in range(4)] for count in counts]
    inputs = tuple(torch.randn([1, *shape[1:]], generator=torch.Generator().manual_seed(0)) for shape in shapes)
    with tempfile.TemporaryDirectory() as folder:
        library = compile_network(Beside(axis), inputs, profile, Path(folder) / "layer.so").library
        answer = CompiledStudent(library, threads)(*(part.numpy() for part in inputs))
    torch.testing.assert_close(torch.as_tensor(answer), Beside(axis)(*inputs), atol=1e-5, rtol=1e-5)
