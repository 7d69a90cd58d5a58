from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from distiller_contract import CHECKS, Case, ConvNet
from scipy.special import log_softmax, softmax
from scipy.stats import pearsonr

from evaluators.distill.distiller import Loss
from evaluators.distill.methods.correlation import Dist
from evaluators.distill.methods.decoupled import Decoupled
from evaluators.distill.methods.mutual import Mutual
from evaluators.distill.methods.own import ProgressiveSelf
from evaluators.distill.methods.response import HardDistillation, SoftTargets
from evaluators.distill.methods.standard import StandardisedTargets
from evaluators.distill.signals import Signals
from evaluators.distill.trainer import seeded
from understudy import ConfigError


@dataclass(frozen=True)
class MutualCase(Case):
    """The recipe's peer is made of the student."""

    def loss(self, with_targets: bool = True) -> tuple[Loss, Signals]:
        student, _, targets = self.signals()
        ready = self.distiller.attached(ConvNet(1, 8, 10), None, student.images)
        return ready.loss(student, Signals.none(), targets if with_targets else None), student


TAUGHT = {
    "hard-distillation": HardDistillation,
    "dkd": Decoupled,
    "dkd-standardised": lambda: Decoupled(standardise=True),
    "dist": Dist,
    "standardised-targets": StandardisedTargets,
}
CASES = {
    **{name: Case(make) for name, make in TAUGHT.items() if name != "dkd-standardised"},
    "self": Case(ProgressiveSelf),
    "mutual": MutualCase(Mutual),
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_contract(check, case):
    check(case)


def batch() -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[Signals, Signals, torch.Tensor]]:
    """The logits of student and teacher and the targets, for the formula and for the method."""
    generator = np.random.default_rng(0)
    ours, theirs = 3 * generator.standard_normal((2, 12, 10))
    targets = generator.integers(0, 10, 12)
    student, teacher = (Signals(torch.tensor(each, dtype=torch.float32)) for each in (ours, theirs))
    return ours, theirs, targets, (student, teacher, torch.from_numpy(targets))


def cross_entropy(logits, targets):
    return -log_softmax(logits, axis=1)[np.arange(len(logits)), targets].mean()


def divergence(ours, theirs, axis=1):
    """KL(theirs || ours) of logits, the mean over the batch."""
    return (softmax(theirs, axis) * (log_softmax(theirs, axis) - log_softmax(ours, axis))).sum(axis).mean()


def test_hard_distillation_is_the_papers_formula():
    ours, theirs, targets, signals = batch()
    expected = 0.7 * cross_entropy(ours, theirs.argmax(1)) + 0.3 * cross_entropy(ours, targets)
    assert HardDistillation(weight=0.7).loss(*signals).total.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("labelled", [True, False])
def test_dkd_is_the_papers_formula(labelled):
    ours, theirs, targets, (student, teacher, labels) = batch()
    split = targets if labelled else theirs.argmax(1)
    binary, others = 0.0, 0.0
    for row, target in enumerate(split):
        p, q = softmax(theirs[row] / 4), softmax(ours[row] / 4)
        binary += sum(a * np.log(a / b) for a, b in ((p[target], q[target]), (1 - p[target], 1 - q[target])))
        p, q = np.delete(p, target) / (1 - p[target]), np.delete(q, target) / (1 - q[target])
        others += (p * np.log(p / q)).sum()
    distillation = 16 * (2 * binary + 8 * others) / len(ours)
    loss = Decoupled(alpha=2.0, beta=8.0).loss(student, teacher, labels if labelled else None)
    assert loss.distillation.item() == pytest.approx(distillation, rel=1e-4)
    assert loss.total.item() == pytest.approx(
        distillation + (cross_entropy(ours, targets) if labelled else 0), rel=1e-4
    )


def test_dkd_warms_up_linearly():
    _, _, _, (student, teacher, targets) = batch()
    full = Decoupled().loss(student, teacher, targets)
    half = Decoupled(warmup=0.2).loss(replace(student, progress=0.1), teacher, targets)
    assert half.total.item() == pytest.approx((full.task + full.distillation / 2).item(), rel=1e-5)
    begun = Decoupled(warmup=0).loss(replace(student, progress=0.0), teacher, targets)
    assert begun.total.item() == pytest.approx(full.total.item(), rel=1e-5)


def test_dist_is_the_papers_formula():
    ours, theirs, targets, signals = batch()
    p, q = softmax(ours / 2, axis=1), softmax(theirs / 2, axis=1)
    inter = np.mean([1 - pearsonr(a, b).statistic for a, b in zip(p, q, strict=True)])
    intra = np.mean([1 - pearsonr(a, b).statistic for a, b in zip(p.T, q.T, strict=True)])
    expected = cross_entropy(ours, targets) + 4 * (3 * inter + 2 * intra)
    assert Dist(beta=3.0, temperature=2.0).loss(*signals).total.item() == pytest.approx(expected, rel=1e-4)


def test_standardised_targets_is_the_papers_formula():
    ours, theirs, targets, signals = batch()
    scaled = [(z - z.mean(1, keepdims=True)) / z.std(1, keepdims=True) / 3 for z in (ours, theirs)]
    expected = 5 * 9 * divergence(*scaled) + 0.1 * cross_entropy(ours, targets)
    method = StandardisedTargets(temperature=3.0, weight=5.0)
    assert method.loss(*signals).total.item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("make", [Dist, StandardisedTargets, lambda: Decoupled(standardise=True)])
def test_a_teacher_that_differs_in_scale_alone_costs_nothing(make):
    _, _, _, (student, _, targets) = batch()
    same = make().loss(student, student, targets)
    assert same.distillation.item() == pytest.approx(0, abs=1e-4)
    louder = make().loss(student, Signals(1.5 * student.logits + 3), targets)
    if make is not Dist:  # whose correlation is of probabilities
        assert louder.distillation.item() == pytest.approx(0, abs=1e-4)


def test_self_learns_from_the_labels_alone_at_first():
    _, earlier, targets, (student, before, labels) = batch()
    method = ProgressiveSelf(weight=0.8).prepared(student, Signals.none())
    ids = torch.arange(12)
    first = method.loss(Signals(before.logits, ids=ids, progress=0.0), Signals.none(), labels)
    assert first.total.item() == pytest.approx(cross_entropy(earlier, targets), rel=1e-5)


def test_self_mixes_the_labels_with_the_answers_of_the_epoch_before():
    ours, earlier, targets, (student, before, labels) = batch()
    method = ProgressiveSelf(weight=0.8).prepared(student, Signals.none())
    order = torch.randperm(12)
    method.loss(Signals(before.logits[order], ids=order, progress=0.1), Signals.none(), labels[order])
    loss = method.loss(Signals(student.logits, ids=torch.arange(12), progress=0.5), Signals.none(), labels)
    mixed = 0.6 * np.eye(10)[targets] + 0.4 * softmax(earlier, axis=1)
    expected = -(mixed * log_softmax(ours, axis=1)).sum(1).mean()
    assert loss.total.item() == pytest.approx(expected, rel=1e-5)


def test_mutual_teaches_both_by_the_papers_formula():
    torch.manual_seed(0)
    student, images, targets = ConvNet(1, 8, 10), torch.rand(12, 1, 8, 8), torch.randint(0, 10, (12,))
    method = Mutual(weight=2.0).attached(student, None, images)
    (peer,) = (value for value in vars(method).values() if isinstance(value, ConvNet))
    assert not torch.equal(peer.head[2].weight, student.head[2].weight)
    logits, others = student(images), copy.deepcopy(peer)(images)
    loss = method.loss(Signals(logits, images=images), Signals.none(), targets)
    p, q = logits.detach().double().numpy(), others.detach().double().numpy()
    each = [cross_entropy(a, targets) + 2 * divergence(a, b) for a, b in ((p, q), (q, p))]
    assert loss.total.item() == pytest.approx(sum(each), rel=1e-4)
    mine = torch.autograd.grad(loss.total, list(student.parameters()), retain_graph=True)
    alone = logits.log_softmax(1).gather(1, targets[:, None]).mean()
    alone = -alone + 2 * torch.nn.functional.kl_div(
        logits.log_softmax(1), others.detach().softmax(1), reduction="batchmean"
    )
    for got, wanted in zip(mine, torch.autograd.grad(alone, list(student.parameters())), strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-6)
    assert {id(p) for p in method.parameters()} == {id(p) for p in peer.parameters()}


@pytest.mark.parametrize("make", [*TAUGHT.values(), SoftTargets])
@pytest.mark.parametrize("scale", [0.0, 1e4])
@pytest.mark.parametrize("rows", [1, 5])
def test_flat_or_extreme_answers_give_finite_gradients(make, scale, rows):
    torch.manual_seed(0)
    logits = (scale * torch.randn(rows, 10)).requires_grad_()
    for answers in (torch.zeros(rows, 10), 1e4 * torch.randn(rows, 10), logits.detach().clone()):
        loss = make().loss(Signals(logits), Signals(answers), torch.zeros(rows, dtype=torch.int64))
        (gradient,) = torch.autograd.grad(loss.total, logits)
        assert bool(torch.isfinite(gradient).all())
        assert bool(torch.isfinite(loss.total))


def test_two_classes_are_enough():
    logits = torch.randn(4, 2, requires_grad=True)
    for make in TAUGHT.values():
        loss = make().loss(Signals(logits), Signals(torch.randn(4, 2)), torch.tensor([0, 1, 1, 0]))
        assert bool(torch.isfinite(torch.autograd.grad(loss.total, logits)[0]).all())


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: HardDistillation(weight=2), r"weight must be in 0\.\.1, but got 2"),
        (lambda: Decoupled(beta=-1), "beta must be at least 0, but got -1"),
        (lambda: Decoupled(warmup=3), r"warmup must be in 0\.\.1, but got 3"),
        (lambda: Dist(temperature=0), "temperature must be above 0"),
        (lambda: StandardisedTargets(weight=-9), "weight must be at least 0"),
        (lambda: ProgressiveSelf(weight=1.5), r"weight must be in 0\.\.1"),
        (lambda: Mutual(weight=-1), "weight must be at least 0"),
    ],
)
def test_settings_out_of_range_are_refused(make, text):
    with pytest.raises(ConfigError, match=text):
        make()


def test_a_peer_differs_from_a_student_of_the_same_seed():
    with seeded(3):
        student = ConvNet(1, 8, 10)
    with seeded(3):
        method = Mutual().attached(student, None, torch.rand(2, 1, 8, 8))
    ours, theirs = ([p for p in each if p.ndim > 1] for each in (student.parameters(), method.parameters()))
    assert not any(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
