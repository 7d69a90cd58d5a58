from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import ClassVar

import numpy as np
import pytest
import torch
from distiller_contract import CHECKS, Case, ConvNet
from scipy.special import log_softmax, softmax
from torch import Tensor, nn
from torch.nn import functional

from evaluators.distill.distiller import Distiller, Loss
from evaluators.distill.features import FeatureCapture
from evaluators.distill.methods.response import HardLabels, SoftTargets
from evaluators.distill.signals import Signals
from understudy import ConfigError


class Hint(Distiller):
    """Features through a learnt adapter (FitNets; Romero et al., 2015): proves that the seam carries them."""

    name: ClassVar[str] = "hint"
    student_layers = ("high",)
    teacher_layers = ("network.high",)

    def __init__(self) -> None:
        self.adapter: nn.Module | None = None

    def prepared(self, student: Signals, teacher: Signals) -> Distiller:
        ready = copy.copy(self)
        channels = student.features["high"].shape[1], teacher.features["network.high"].shape[1]
        ready.adapter = nn.Linear(*channels)
        return ready

    def parameters(self) -> Iterable[nn.Parameter]:
        return () if self.adapter is None else self.adapter.parameters()

    def loss(self, student: Signals, teacher: Signals, targets: Tensor | None) -> Loss:
        assert self.adapter is not None
        ours = self.adapter(student.features["high"].mean((2, 3)))
        hint = functional.mse_loss(ours, teacher.features["network.high"].mean((2, 3)))
        answers = SoftTargets().loss(student, teacher, targets)
        return Loss(answers.total + hint, answers.task, answers.distillation + hint)


CASES = {
    "soft-targets": Case(SoftTargets),
    "soft-targets-only": Case(lambda: SoftTargets(temperature=1.0, weight=1.0)),
    "hard-labels": Case(HardLabels),
    "hint": Case(Hint),
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_contract(check, case):
    check(case)


def test_soft_targets_is_the_papers_formula():
    student, teacher, targets = CASES["soft-targets"].signals()
    ours, theirs = student.logits.detach().double().numpy(), teacher.logits.detach().double().numpy()
    soft = softmax(theirs / 3, axis=1)
    divergence = (soft * (log_softmax(theirs / 3, axis=1) - log_softmax(ours / 3, axis=1))).sum(1).mean()
    entropy = -log_softmax(ours, axis=1)[np.arange(len(ours)), targets].mean()
    loss = SoftTargets(temperature=3.0, weight=0.7).loss(student, teacher, targets)
    assert loss.task.item() == pytest.approx(entropy, rel=1e-5)
    assert loss.distillation.item() == pytest.approx(9 * divergence, rel=1e-4)
    assert loss.total.item() == pytest.approx(0.7 * 9 * divergence + 0.3 * entropy, rel=1e-4)


def test_the_gradient_of_soft_targets_keeps_its_size_at_any_temperature():
    norms = []
    for temperature in (10.0, 40.0):
        student, teacher, _ = CASES["soft-targets"].signals()
        logits = student.logits.detach().requires_grad_()
        SoftTargets(temperature, 1.0).loss(Signals(logits), teacher, None).total.backward()
        norms.append(float(logits.grad.norm()))
    assert norms[0] == pytest.approx(norms[1], rel=0.05)


def test_a_student_that_says_what_the_teacher_says_has_no_loss():
    _, teacher, _ = CASES["soft-targets"].signals()
    assert float(SoftTargets().loss(teacher, teacher, None).total.detach()) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(
    ("settings", "text"), [({"temperature": 0}, "above 0, but got 0"), ({"weight": 2}, "0..1")]
)
def test_settings_out_of_range_are_refused(settings, text):
    with pytest.raises(ConfigError, match=text):
        SoftTargets(**settings)


def test_an_unknown_layer_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"the student has no layer 'hihg': the nearest are high"):
        FeatureCapture(ConvNet(1, 8, 10), ["hihg"], "student")


def test_hooks_are_gone_after_the_capture():
    network = ConvNet(1, 8, 10)
    with FeatureCapture(network, ["low"]) as capture:
        network(torch.rand(2, 1, 8, 8))
        assert capture.features["low"].shape == (2, 8, 4, 4)
    network(torch.rand(2, 1, 8, 8))
    assert not capture.features
