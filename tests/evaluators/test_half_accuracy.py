"""What float16 costs a student of a GPU, and what is delivered when it costs too much."""

from __future__ import annotations

from contextlib import nullcontext
from copy import deepcopy

import pytest
import torch
from distiller_contract import ConvNet, digits
from torch import Tensor, nn

from evaluators.distill.evaluate import accuracy, predict_logits
from evaluators.half_precision import Half, keep_precise
from evaluators.target import Target
from evaluators.workbench import Workbench
from hw_profiles.profile import load_profile
from results.budget import Budget
from results.candidate import Student
from results.finalists import compared
from results.goals import Goal
from results.measurement import Measurement

JETSON, PI = load_profile("jetson-orin-nano"), load_profile("rpi5")
OBJECTIVES = ("accuracy", "size")


class TooLarge(nn.Module):
    """The same answers by way of numbers that float16 cannot hold."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x) * 1e6 / 1e6


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return ConvNet(1, 8, 10).eval()


def bench(*profiles) -> Workbench:
    """What is needed of one for these profiles."""
    names = [each.name if len(profiles) > 1 else "" for each in profiles]
    targets = tuple(
        Target(each, None, Goal(name, OBJECTIVES, Budget())) for each, name in zip(profiles, names, strict=True)
    )
    needed = {"task": digits(), "targets": targets, "working": nullcontext}
    return Workbench(**(dict.fromkeys(Workbench.__dataclass_fields__) | needed))


def single(network: nn.Module) -> float:
    return accuracy(predict_logits(network, digits(), "val", 8), digits().targets("val"))


def test_half_is_what_torch_computes_in_float16(network: nn.Module) -> None:
    images = torch.randn(16, 1, 8, 8)
    with torch.inference_mode():
        simulated, exact = Half(network)(images), network(images)
        expected = deepcopy(network).half()(images.half()).float()
    scale = exact.abs().max()
    assert 0 < (simulated - exact).abs().max() < 5e-3 * scale
    assert (simulated - expected).abs().max() < 5e-3 * scale


def test_a_student_that_float16_leaves_as_good_is_delivered_in_it(network: nn.Module) -> None:
    given = bench(JETSON, PI)
    kept, figures = keep_precise(given, network, 8, single(network))
    assert kept is given
    assert list(figures) == [f"half_accuracy@{JETSON.name}"]
    assert figures[f"half_accuracy@{JETSON.name}"].source == "estimated"
    assert keep_precise(bench(PI), network, 8, 1.0) == (bench(PI), {})


def test_a_student_that_float16_ruins_is_delivered_in_float32_and_says_so(network: nn.Module) -> None:
    with torch.no_grad():
        network.head[-1].bias.normal_(0, 1e-3)  # answers of many classes, all lost beyond float16's range
    right = single(TooLarge(network))
    kept, figures = keep_precise(bench(JETSON, PI), TooLarge(network), 8, right + 0.5)
    assert [each.profile.in_half for each in kept.targets] == [False, False]
    assert kept.targets[0].profile.gpu.arch == JETSON.gpu.arch
    assert kept.targets[1].profile is PI
    half = figures[f"half_accuracy@{JETSON.name}"]
    student = Student(
        3,
        {},
        "3",
        {"accuracy": Measurement(0.9, "share"), "size": Measurement(9.0, "byte"), "half_accuracy": half},
        {},
        True,
        "",
        {},
        {},
    )
    (said,) = compared([student], OBJECTIVES, Budget())
    assert said.on_front
    assert said.note.endswith("points of accuracy on validation (simulated), so it is delivered in float32")
