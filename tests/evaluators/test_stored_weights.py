"""Weights alone in few bits: rounded while a student learns, stored, as ONNX, compiled."""

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from evaluators.compile.compiler import compile_module, compile_network
from evaluators.compile.verify import compare, expected_outputs
from evaluators.distill.methods.response import HardLabels
from evaluators.distill.schedule import Schedule
from evaluators.distill.trainer import train_student
from evaluators.latency.host import HostDevice
from evaluators.onnx_twin import check_onnx, export_onnx
from evaluators.programs import programs_of
from evaluators.quantise.integer import delivered
from evaluators.quantise.onnx_file import import_student, is_quantised, tolerance_of
from evaluators.quantise.phases import phases, set_simulating
from evaluators.quantise.precision import Precision
from evaluators.quantise.prepare import kept_in_float, quantised_layers
from evaluators.quantise.weights import whole_weights
from evaluators.tasks.load import load_task
from hw_profiles.profile import load_profile
from spaces.batch import parts
from spaces.catalogue import load_space

HOST = load_profile("x86-host").with_threads(1)
BITS = [("int8-weights", 8), ("int4-weights", 4)]


def network(quantise: str, inputs: Tensor) -> nn.Module:
    torch.manual_seed(0)
    space = load_space("text", channels=3000, image_size=8, classes=3, tokens=True)
    made = space.build(space.smallest()).eval()
    Precision.of(quantise, [HOST]).prepare(made, space.smallest(), inputs)
    return made.eval()


def ids(count: int = 4) -> Tensor:
    made = torch.randint(1, 3000, (count, 8), generator=torch.Generator().manual_seed(1))
    made[1:2, 5:] = 0
    return made


@pytest.mark.parametrize(("quantise", "bits"), BITS)
def test_rounded_is_delivered_is_onnx_is_compiled(tmp_path: Path, quantise: str, bits: int) -> None:
    rounded = network(quantise, ids())
    assert {layer.weight_bits for layer in quantised_layers(rounded).values()} == {bits}
    assert kept_in_float(rounded) == ("stem.places (Embedding)",)
    stored = delivered(rounded)
    assert is_quantised(stored)
    torch.testing.assert_close(stored(ids()), rounded(ids()))
    export_onnx(stored, ids(1), tmp_path / "student.onnx")
    check_onnx(tmp_path / "student.onnx", stored, ids())
    compiled = compile_module(import_student(stored, ids(1)), HOST, tmp_path / "student.so")
    outputs = [HostDevice(HOST).run(compiled.library, one[None].numpy()) for one in ids()]
    compare(np.concatenate(outputs), stored(ids()).detach().numpy(), tolerance_of(stored))
    set_simulating(rounded, False)
    plain = compile_network(rounded, ids(1), HOST, tmp_path / "plain.so")
    assert compiled.size_bytes < plain.size_bytes * (0.5 if bits == 8 else 0.35)


@pytest.mark.parametrize(("quantise", "bits"), BITS)
def test_both_programs_of_a_decoder_store_few_bits(tmp_path: Path, quantise: str, bits: int) -> None:
    torch.manual_seed(0)
    space = load_space("language", channels=3000, image_size=8, classes=3000, tokens=True, dense=True)
    made = space.build(space.smallest()).eval()
    Precision.of(quantise, [HOST]).prepare(made, space.smallest(), ids())
    stored = delivered(made)
    torch.testing.assert_close(stored(ids()), made(ids()))
    for program in programs_of(stored, ids()):
        module = import_student(program.network, program.example, program.ins, program.outs)
        compiled = compile_module(module, HOST, tmp_path / f"{program.name}.so")
        arrays = tuple(part.numpy() for part in parts(program.inputs))
        wanted = expected_outputs(program.network, *parts(program.inputs))
        compare(HostDevice(HOST).run(compiled.library, arrays), wanted)
        assert compiled.size_bytes < 3000 * 32 * (2 if bits == 8 else 1) + 180_000


@pytest.mark.parametrize("width", [6, 7, 40])
def test_layers_of_any_width(tmp_path: Path, width: int) -> None:
    layers = nn.Sequential(nn.Linear(width, 33), nn.ReLU(), nn.Linear(33, 5)).eval()
    inputs = torch.randn(3, width, generator=torch.Generator().manual_seed(0))
    Precision.of("int4-weights", [HOST]).prepare(layers, {}, inputs)
    stored = delivered(layers)
    compiled = compile_module(import_student(stored, inputs), HOST, tmp_path / "student.so")
    compare(HostDevice(HOST).run(compiled.library, inputs.numpy()), stored(inputs).detach().numpy())


def test_four_bits_cut_large_weights_off_where_that_is_nearer() -> None:
    weight = torch.randn(8, 64, generator=torch.Generator().manual_seed(0))
    weight[0, 0], weight[1] = 9.0, 0.0
    whole, scale = whole_weights(weight, 4)
    assert whole.abs().max() == 7
    assert (scale > 0).all()
    assert torch.equal(whole, whole.round())
    widest = weight.abs().amax(1, keepdim=True).clamp_min(1e-30) / 7
    plain = (weight / widest).round() * widest
    errors = [(weight - each).square().sum(1) for each in (whole * scale[:, None], plain)]
    assert (errors[0] <= errors[1]).all()
    assert errors[0][0] < errors[1][0]


def test_a_student_learns_in_floats_and_then_with_rounded_weights(tmp_path: Path) -> None:
    task = load_task("digits", cache=tmp_path, seed=0)
    space = load_space("mlp", channels=task.channels, image_size=8, classes=10)
    choice = space.smallest()
    student = space.build(choice)
    images = task.batch("train", np.arange(4), 8)
    Precision.of("int4-weights", [HOST]).prepare(student, choice, images)
    after = phases(student, task, 8, 4, nullcontext)
    assert after is not None
    seen = []

    def each(figures: object) -> None:
        seen.append(all(layer.simulating for layer in quantised_layers(student).values()))
        after(figures)  # type: ignore[arg-type]

    trained = train_student(
        student,
        task,
        resolution=8,
        distiller=HardLabels(),
        teacher_outputs=None,
        schedule=Schedule(4, batch_size=64, learning_rate=0.1, views=0),
        seed=0,
        on_epoch=each,
    )
    assert seen == [False, False, False, True]
    assert trained.val_accuracy > 0.5
    student(images).square().sum().backward()
    assert all((layer.weight.grad != 0).any() for layer in quantised_layers(student).values())
