from __future__ import annotations

import numpy as np
import pytest
import torch
from distiller_contract import CHECKS, Case, ConvNet, teacher
from scipy.spatial.distance import cdist
from torch.nn import functional

from evaluators.distill.catalogue import load_distiller
from evaluators.distill.features import in_form
from evaluators.distill.methods.contrastive import told_apart
from evaluators.distill.methods.features import AttentionTransfer, Hints, Information, SimilarityPreserving
from evaluators.distill.methods.layered import Compared
from evaluators.distill.methods.relations import Congruence, Relational, RelationGraph
from evaluators.distill.methods.review import Review, hierarchical_distance
from understudy import ConfigError

NAMES = (
    "hints",
    "attention",
    "similarity",
    "information",
    "review",
    "contrastive",
    "relations",
    "relation-graph",
    "congruence",
)
CASES = {name: Case(lambda name=name: load_distiller(name)) for name in NAMES}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_contract(check, case):
    check(case)


def batch(ours, theirs, *, logits=None, targets=None):
    """Features of student and teacher by layer, as the methods see them."""
    said = logits or (torch.zeros(len(ours[0]), 3), torch.zeros(len(ours[0]), 3))
    return Compared(ours, theirs, said, targets)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def distance(method, ours, theirs, **options):
    return method.comparison(ours, theirs)(batch(ours, theirs, **options)).item()


MAPS = [random(6, 5, 4, 4, seed=1)], [random(6, 7, 4, 4, seed=2)]
FLAT = [random(6, 5, seed=3)], [random(6, 7, seed=4)]


def test_hints_is_the_mean_square_to_the_adapted_maps():
    comparison = Hints().comparison(*MAPS).eval()
    weight = comparison.adapters[0][0].weight.detach().numpy()[:, :, 0, 0]
    adapted = np.einsum("oc,bchw->bohw", weight, MAPS[0][0].numpy()) / np.sqrt(1 + 1e-5)
    expected = ((adapted - MAPS[1][0].numpy()) ** 2).mean()
    assert comparison(batch(*MAPS)).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("side", [4, 8, 16])
def test_attention_is_the_papers_formula_on_the_papers_sizes(side):
    def attention(features):
        energy = (features.numpy().astype(float) ** 2).mean(1).reshape(len(features), -1)
        return energy / np.linalg.norm(energy, axis=1, keepdims=True)

    maps = random(6, 5, side, side, seed=1), random(6, 7, side, side, seed=2)
    expected = ((attention(maps[0]) - attention(maps[1])) ** 2).sum() / 6 / max(side**2, 64)
    seen = [[in_form(each, "attention")] for each in maps]
    assert distance(AttentionTransfer(), *seen) == pytest.approx(expected, rel=1e-4)


def test_similarity_is_the_papers_formula():
    def similarities(features):
        flat = features.numpy().reshape(6, -1).astype(float)
        products = flat @ flat.T
        return products / np.linalg.norm(products, axis=1, keepdims=True)

    expected = ((similarities(MAPS[0][0]) - similarities(MAPS[1][0])) ** 2).sum() / 6**2
    assert distance(SimilarityPreserving(), *MAPS) == pytest.approx(expected, rel=1e-4)


def test_information_is_the_negative_log_likelihood_up_to_a_constant():
    comparison = Information().comparison(*MAPS)
    mean = comparison.regressors[0](MAPS[0][0])
    spread = (functional.softplus(comparison.spreads[0]) + 1e-5).sqrt().view(1, -1, 1, 1)
    normal = torch.distributions.Normal(mean, spread)
    expected = -normal.log_prob(MAPS[1][0]).mean() - 0.5 * np.log(2 * np.pi)
    assert comparison(batch(*MAPS)).item() == pytest.approx(expected.item(), rel=1e-4)
    assert spread.square().flatten()[0].item() == pytest.approx(5, abs=0.01)


def test_review_compares_a_map_and_its_averages():
    ours, theirs = random(2, 3, 8, 8, seed=5).double(), random(2, 3, 8, 8, seed=6).double()
    squares = []
    for side in (8, 4, 2, 1):
        blocks = ((ours - theirs).numpy().reshape(2, 3, side, 8 // side, side, 8 // side)).mean((3, 5))
        squares.append((blocks**2).mean())
    expected = np.dot(squares, [1, 0.5, 0.25, 0.125]) / 1.875
    assert hierarchical_distance(ours, theirs).item() == pytest.approx(expected)


def test_review_learns_early_levels_from_later_ones():
    ours = [random(4, 3, 8, 8).requires_grad_(), random(4, 6, 4, 4).requires_grad_()]
    theirs = [random(4, 5, 8, 8, seed=7), random(4, 9, 4, 4, seed=8)]
    comparison = Review().comparison(ours, theirs)
    early, _ = comparison.fusions[0](ours[0], comparison.fusions[1](ours[1], None)[1])
    assert early.shape == theirs[0].shape
    (gradient,) = torch.autograd.grad(early.square().mean(), ours[1])
    assert float(gradient.abs().sum()) > 0


def test_relations_is_the_papers_formula():
    def relations(features):
        rows = features.numpy().astype(float)
        distances = cdist(rows, rows)
        away = rows[None] - rows[:, None]
        norms = np.linalg.norm(away, axis=2, keepdims=True)
        units = np.divide(away, norms, out=np.zeros_like(away), where=norms > 0)
        return distances / distances[distances > 0].mean(), np.einsum("ijd,ikd->ijk", units, units)

    def huber(ours, theirs):
        apart = np.abs(ours - theirs)
        return np.where(apart < 1, apart**2 / 2, apart - 0.5).mean()

    (distances, angles), (wanted, wide) = relations(FLAT[0][0]), relations(FLAT[1][0])
    expected = 25 * huber(distances, wanted) + 50 * huber(angles, wide)
    assert distance(Relational(), *FLAT) == pytest.approx(expected, rel=1e-3)
    assert distance(Relational(angle=0.0), *FLAT) == pytest.approx(25 * huber(distances, wanted), rel=1e-3)


def test_relation_graph_compares_vertices_edges_and_their_change():
    def edges(features):
        squares = cdist(features, features) ** 2
        return squares / squares.max()

    ours, theirs = [random(6, 4, seed=1), random(6, 5, seed=2)], [random(6, 8, seed=3), random(6, 9, seed=4)]
    logits = random(6, 3, seed=5), random(6, 3, seed=6)
    graphs = [[edges(features.double().numpy()) for features in side] for side in (ours, theirs)]
    vertex = ((logits[0] - logits[1]) ** 2).mean().item()
    edge = ((graphs[0][1] - graphs[1][1]) ** 2).mean()
    change = (((graphs[0][1] - graphs[0][0]) - (graphs[1][1] - graphs[1][0])) ** 2).mean()
    expected = 0.1 * vertex + 5 * edge + 5 * change
    assert distance(RelationGraph(), ours, theirs, logits=logits) == pytest.approx(expected, rel=1e-3)


def test_congruence_approaches_the_gaussian_kernel():
    def kernel(features):
        unit = features.double().numpy() / np.linalg.norm(features.numpy(), axis=1, keepdims=True)
        return np.exp(-0.4 * cdist(unit, unit) ** 2)

    expected = ((kernel(FLAT[0][0]) - kernel(FLAT[1][0])) ** 2).mean()
    assert distance(Congruence(order=8), *FLAT) == pytest.approx(expected, rel=1e-3)
    assert distance(Congruence(), *FLAT) == pytest.approx(expected, rel=0.2)


def test_contrastive_leaves_out_negatives_of_the_same_class():
    scores = random(3, 5, seed=9)
    anchors, others = torch.tensor([0, 1, 0]), torch.tensor([0, 1, 0, 1, 2])
    rows = scores.double().numpy()
    left = [[0, 1, 3, 4], [0, 1, 2, 4], [1, 2, 3, 4]]
    expected = np.mean([np.log(np.exp(rows[i][left[i]]).sum()) - rows[i, i] for i in range(3)])
    assert told_apart(scores, anchors, others).item() == pytest.approx(expected, rel=1e-5)
    unknown = torch.full((3,), -1), torch.full((5,), -1)
    everything = functional.cross_entropy(scores, torch.arange(3))
    assert told_apart(scores, *unknown).item() == pytest.approx(everything.item(), rel=1e-5)


def test_the_contrastive_bank_keeps_what_came_last():
    comparison = load_distiller("contrastive:bank=8").comparison(*FLAT)
    for number in range(3):
        comparison(batch(*FLAT, targets=torch.full((6,), number)))
    assert comparison.classes.tolist() == [2] * 6 + [1] * 2
    assert torch.equal(comparison.seen[:6], FLAT[1][0])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [1, 2])
def test_a_batch_of_one_or_two_is_finite(name, size):
    case = CASES[name]
    student, taught, targets = case.signals(size=size)
    ready = case.attached.prepared(student, taught)
    loss = ready.loss(student, taught, targets)
    learning = [student.logits, *student.features.values(), *ready.parameters()]
    gradients = torch.autograd.grad(loss.total, learning, allow_unused=True)
    assert bool(torch.isfinite(loss.total))
    assert all(bool(gradient.isfinite().all()) for gradient in gradients if gradient is not None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hints:weight=-1", "must not be below 0, but got -1"),
        ("hints:soft=2", r"0\.\.1, but got 2"),
        ("hints:stages=lst", "did you mean 'last'"),
        ("hints:student=low", "got 1 layers of the student and 0 of the teacher"),
        ("contrastive:contrast=0", "contrast must be above 0"),
        ("congruence:order=0", "order and gamma must be above 0"),
    ],
)
def test_bad_settings_are_refused(text, message):
    with pytest.raises(ConfigError, match=message):
        load_distiller(text)


def test_soft_targets_are_mixed_in_by_their_share():
    case = Case(lambda: load_distiller("similarity:soft=0.5,weight=2"))
    student, taught, targets = case.signals()
    loss = case.attached.prepared(student, taught).loss(student, taught, targets)
    answers = load_distiller("soft-targets:weight=0.5").loss(student, taught, targets)
    apart = loss.distillation - answers.distillation
    assert loss.total.item() == pytest.approx((answers.total + 2 * apart).item(), rel=1e-4)


def test_adapters_are_trained_and_stay_out_of_the_student():
    trained = CASES["hints"].train()
    assert set(trained.state_dict) == set(ConvNet(1, 8, 10).state_dict())
    case = CASES["hints"]
    student, taught, _ = case.signals()
    ready = case.attached.prepared(student, taught)
    assert sum(weight.numel() for weight in ready.parameters()) > 0
    assert not any(weight.requires_grad for weight in teacher().module.parameters())
