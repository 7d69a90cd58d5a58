"""Students of integers: simulated, as ONNX, compiled; how they learn; what cannot be quantised."""

import copy
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from evaluators.compile.compiler import compile_module
from evaluators.compile.integers import dots_of, joined_groups, rows_are_exact, weight_bits
from evaluators.compile.verify import compare
from evaluators.distill.distiller import Distiller
from evaluators.distill.methods.response import HardLabels
from evaluators.distill.schedule import Schedule
from evaluators.distill.trainer import train_student
from evaluators.latency.host import HostDevice
from evaluators.onnx_twin import check_onnx, export_onnx
from evaluators.quantise.grid import Grid
from evaluators.quantise.integer import IntegerLayer, delivered
from evaluators.quantise.layers import rounded_weights, weight_scales
from evaluators.quantise.onnx_file import has_integers, import_student
from evaluators.quantise.phases import calibrate, float_epochs, phases, set_simulating
from evaluators.quantise.precision import Precision
from evaluators.quantise.prepare import grids, kept_in_float, prepare, quantised_layers
from evaluators.tasks.load import load_task
from hw_profiles.profile import load_profile
from spaces.blocks import SqueezeExcite
from spaces.catalogue import load_space
from spaces.choice import Choice
from understudy import ConfigError


def convolution(inputs: int, outputs: int, kernel: int = 3, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class Small(nn.Module):
    """An inverted residual, gates, a residual sum changed in place, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = convolution(3, 16)
        self.expand = convolution(16, 32, 1)
        self.depthwise = convolution(32, 32, groups=32)
        self.squeeze = SqueezeExcite(32, 8)
        self.project = nn.Sequential(nn.Conv2d(32, 16, 1), nn.BatchNorm2d(16))
        self.last = convolution(16, 24)
        self.head = nn.Linear(24, 10)

    def forward(self, images: Tensor) -> Tensor:
        features = self.stem(images)
        features = self.project(self.squeeze(self.depthwise(self.expand(features)))) + features
        logits: Tensor = self.head(self.last(features).mean((2, 3)))
        return logits


def images(count: int = 8) -> Tensor:
    return torch.randn(count, 3, 12, 12, generator=torch.Generator().manual_seed(1))


def small(bits: int = 7) -> nn.Module:
    """With statistics of its own, one negative factor and one channel that is always off."""
    torch.manual_seed(0)
    network = Small()
    for _ in range(20):
        network(images())
    norm = network.expand[1]
    with torch.no_grad():
        norm.weight[0], norm.weight[1], norm.bias[1] = -1.0, 0.0, 1.0
    prepare(network, images(), bits)
    calibrate(network, [images()])
    return network.eval()


def steps(found: np.ndarray, wanted: np.ndarray) -> float:
    """The largest difference, in steps of an 8-bit grid of the logits."""
    return float(np.abs(found - wanted).max() / (wanted.max() - wanted.min()) * 255)


def forms_agree(network: nn.Module, inputs: Tensor, folder: Path, simulated: float = 2) -> None:
    """The network as delivered, as ONNX and compiled gives the same, but for rounding, and that is what learns.

    Batch norms that are simulated round some values to the next whole number: so many steps of the logits.
    """
    integers = delivered(network)
    wanted = network(inputs).detach().numpy()
    exact = integers(inputs).numpy()
    assert steps(exact, wanted) < simulated
    export_onnx(integers, inputs[:1], folder / "small.onnx")
    assert check_onnx(folder / "small.onnx", integers, inputs, tolerance=0.02, as_written=True) < 0.02
    profile = load_profile("x86-host").with_threads(1)
    library = compile_module(import_student(integers, inputs[:1]), profile, folder / "small.so").library
    device = HostDevice(profile)
    found = np.concatenate([device.run(library, image[None]) for image in inputs.numpy()])
    assert steps(found, exact) < 2
    assert (found.argmax(1) == wanted.argmax(1)).mean() > 0.95
    assert compare(exact, found, 0.02) < 0.02


def test_simulated_is_delivered_is_onnx_is_compiled(tmp_path: Path) -> None:
    forms_agree(small(), images(), tmp_path)


def test_a_student_of_masks_too_with_its_gates_sums_and_maps_scaled_up(tmp_path: Path) -> None:
    """Answers are maps of 8 places a side, the network's own have 4."""
    space = load_space("segment", channels=3, image_size=32, classes=3, dense=True)
    torch.manual_seed(0)
    network = space.build(Choice({**space.smallest(), "decoder.merge": "convolve"}))
    inputs = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    for _ in range(20):
        network(inputs)
    Precision(7).prepare(network.eval(), {}, inputs)
    assert kept_in_float(network) == ()
    forms_agree(network, inputs, tmp_path, simulated=8)


def test_ready_but_not_simulating_is_the_network_itself() -> None:
    torch.manual_seed(0)
    network = Small().eval()
    before = network(images()).detach()
    names = [name for name, _ in network.named_modules()]
    prepare(network, images(), 8)
    assert torch.equal(network(images()), before)
    assert [name for name, _ in network.named_modules() if not name.endswith(".grid")] == names
    assert kept_in_float(network) == ()


def test_what_a_layer_makes_is_put_on_a_grid_once_for_all_its_readers() -> None:
    layers = quantised_layers(small())
    own = {name for name, layer in layers.items() if layer.applies}
    assert own == {"stem.0", "squeeze.reduce", "head", "last.0"}
    assert len({id(layer.reads[0]) for layer in layers.values()}) == len(layers) == 8
    assert layers["expand.0"].norm == "expand.1"
    assert layers["squeeze.reduce"].norm is None


class ChangedInPlace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Conv2d(3, 4, 1)

    def forward(self, images: Tensor) -> Tensor:
        features = self.norm(self.first(images))
        features += images
        logits: Tensor = self.last(features).mean((2, 3))
        return logits


@pytest.mark.parametrize(
    "plain",
    [
        lambda: nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 4, 1)),
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(432, 8), nn.Linear(8, 4)),
        ChangedInPlace,
    ],
)
def test_every_layer_reads_a_grid_also_where_its_maker_is_replaced(plain: Callable[[], nn.Module]) -> None:
    network = plain()
    prepare(network, images(), 7)
    calibrate(network, [images()])
    network.eval()
    made = delivered(network)
    layers = [layer for layer in made.modules() if isinstance(layer, IntegerLayer)]
    read: list[Tensor] = []
    for layer in layers:
        layer.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0].clone()))
    with torch.no_grad():
        made(images())
    assert len(read) == len(layers) >= 2
    for layer, values in zip(layers[1:], read[1:], strict=True):
        on_grid = layer._reads[0](values)
        assert len(torch.unique(on_grid)) > 8
        torch.testing.assert_close(on_grid if layer._applies else values, on_grid, rtol=0, atol=1e-6)


def test_a_copy_has_grids_of_its_own() -> None:
    network = small()
    twin = copy.deepcopy(network)
    assert torch.equal(twin(images()), network(images()))
    next(grids(twin)).log_scale.data += 1.0
    assert not torch.equal(twin(images()), network(images()))
    set_simulating(twin, False)
    assert all(grid.mode == "simulating" for grid in grids(network))


def test_saved_weights_give_the_same_network() -> None:
    network = small()
    torch.manual_seed(5)
    other = Small()
    prepare(other, images(), 7)
    other.load_state_dict(network.state_dict())
    set_simulating(other, True)
    assert torch.equal(other.eval()(images()), network(images()))
    assert torch.equal(delivered(other)(images()), delivered(network)(images()))


def test_gradients_pass_where_a_value_is_in_range_and_move_the_scale_where_it_is_not() -> None:
    grid = Grid()
    grid.watch()
    grid(torch.tensor([-1.0, 2.0]))
    grid.simulate()
    values = torch.tensor([-3.0, -0.501, 0.0, 1.3, 5.0], requires_grad=True)
    grid(values).sum().backward()
    assert values.grad is not None
    assert grid.log_scale.grad is not None
    assert values.grad.tolist() == [0, 1, 1, 1, 0]
    assert grid(torch.zeros(1)).tolist() == [0]
    outside = torch.tensor([50.0])
    grid.log_scale.grad = None
    grid(outside).sum().backward()
    assert grid.log_scale.grad > 0


@pytest.mark.parametrize(("bits", "most"), [(7, 63), (8, 127)])
def test_weights_are_whole_numbers_of_their_channel(bits: int, most: int) -> None:
    weight = torch.randn(5, 3, 3, 3, requires_grad=True)
    rounded = rounded_weights(weight, most)
    scales = weight.detach().abs().amax((1, 2, 3)) / most
    assert torch.allclose(weight_scales(weight, most), scales)  # 27 values: no groups of four
    whole = (rounded / scales[:, None, None, None]).detach()
    assert torch.allclose(whole, whole.round(), atol=1e-3)
    assert whole.abs().max() <= most + 1e-3
    rounded.sum().backward()
    assert weight.grad is not None
    assert torch.equal(weight.grad, torch.ones_like(weight))
    assert small(bits).get_submodule("head").limit == most


@pytest.mark.parametrize("shape", [(24, 64), (24, 16, 3, 3), (24, 40, 1, 1)])
def test_weights_of_seven_bits_never_overflow_16(shape: tuple[int, ...]) -> None:
    dot = dots_of(load_profile("x86-64-avx2"))[0]
    weight = torch.rand(shape)  # all of one sign, the worst of cases
    whole = (rounded_weights(weight, 63) / weight_scales(weight, 63).reshape(-1, *[1] * (weight.ndim - 1))).round()
    values = whole.numpy().astype(np.int16)
    matrix = values.T if values.ndim == 2 else values.transpose(2, 3, 1, 0).reshape(-1, len(values))
    assert dot.is_exact(matrix, joined_groups(len(matrix) // dot.depth))
    assert not dot.is_exact(4 * matrix, joined_groups(len(matrix) // dot.depth))


@pytest.mark.parametrize("kernel", [3, 5, 7])
def test_depthwise_weights_of_seven_bits_never_overflow_16(kernel: int) -> None:
    weight = torch.rand(24, 1, kernel, kernel)
    whole = (rounded_weights(weight, 63) / weight_scales(weight, 63)[:, None, None, None]).round()
    assert rows_are_exact(whole.numpy().astype(np.int16))


def test_layers_without_an_integer_form_stay_in_float_and_are_named() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, padding_mode="reflect"),
        nn.ReLU(),
        nn.ConvTranspose2d(8, 8, 2, stride=2),
        nn.Conv2d(8, 8, 3),
    )
    prepare(network, images(), 8)
    assert list(quantised_layers(network)) == ["3"]
    assert kept_in_float(network) == ("0 (Conv2d)", "2 (ConvTranspose2d)")


class Twice(nn.Module):
    """One layer used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.last(self.conv(self.conv(images)))
        return out


def test_a_layer_that_runs_twice_stays_in_float() -> None:
    network = Twice()
    prepare(network, images(), 8)
    assert list(quantised_layers(network)) == ["last"]


class AroundTheNorm(nn.Module):
    """Sums a convolution's own output with that output normalised."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.last = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), convolution(8, 4)

    def forward(self, images: Tensor) -> Tensor:
        features = self.conv(images)
        summed: Tensor = self.last(self.norm(features) + features).mean((2, 3))
        return summed


def test_a_norm_stays_where_more_than_it_reads_the_convolution() -> None:
    torch.manual_seed(0)
    network = AroundTheNorm()
    for _ in range(10):
        network(images())
    prepare(network.eval(), images(), 8)
    calibrate(network, [images()])
    assert {name: layer.norm for name, layer in quantised_layers(network).items()} == {
        "conv": None,
        "last.0": "last.1",
    }
    assert steps(delivered(network)(images()).numpy(), network(images()).detach().numpy()) < 2


def test_seven_bits_where_the_profile_has_no_dot_product() -> None:
    bits = {name: weight_bits(load_profile(name)) for name in ("x86-64-avx2", "rpi4", "rpi5")}
    assert bits == {"x86-64-avx2": 7, "rpi4": 8, "rpi5": 8}
    assert Precision.of("int8", [load_profile("rpi5"), load_profile("x86-64-avx2")]) == Precision(7)
    with pytest.raises(ConfigError, match="the profile jetson-orin-nano runs students on its GPU"):
        Precision.of("int8", [load_profile("jetson-orin-nano")])


def test_parts_that_the_choice_leaves_in_float() -> None:
    torch.manual_seed(0)
    network = Small()
    Precision(7).prepare(network, {"bits.squeeze": 32, "bits.last": 8, "width": 3}, images())
    kept = {"squeeze.reduce (MutableConv2d)", "squeeze.expand (MutableConv2d)"}
    assert set(kept_in_float(network)) == kept
    assert has_integers(delivered(network))


def test_a_student_learns_in_floats_and_then_in_integers(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(96) % 3
    pictures = rng.integers(0, 60, (96, 12, 12, 3)).astype(np.uint8)
    pictures[np.arange(96), :, :, labels] += 150
    np.savez(tmp_path / "data.npz", images=pictures, labels=labels)
    task = load_task(str(tmp_path / "data.npz"), cache=tmp_path, seed=0)
    torch.manual_seed(0)
    network = nn.Sequential(
        convolution(3, 8), convolution(8, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)
    )
    prepare(network, task.batch("train", np.arange(4), 12), 7)
    modes: list[str] = []
    after = phases(network, task, 12, 4, nullcontext)
    assert after is not None

    def watched(figures: object) -> None:
        modes.append(next(grids(network)).mode)
        after(figures)  # type: ignore[arg-type]

    distiller: Distiller = HardLabels()
    trained = train_student(
        network,
        task,
        resolution=12,
        distiller=distiller,
        teacher_outputs=None,
        schedule=Schedule(4, batch_size=16, learning_rate=0.05, views=0),
        seed=0,
        on_epoch=watched,
    )
    assert modes == ["off", "off", "off", "simulating"]
    assert trained.val_accuracy > 0.9
    scales = [float(grid.log_scale.detach()) for grid in grids(network)]
    calibrate(network, [task.batch("train", np.arange(32), 12)])
    assert scales != [float(grid.log_scale.detach()) for grid in grids(network)]


def test_the_share_of_epochs_in_floats() -> None:
    assert [float_epochs(epochs) for epochs in (2, 3, 4, 12, 60)] == [1, 2, 3, 9, 45]
    with pytest.raises(ConfigError, match="gets 1 epoch: give it 2 or more"):
        float_epochs(1)
