from __future__ import annotations

import numpy as np
import pytest
import torch
from distiller_contract import digits
from scipy.special import softmax

from evaluators.distill.teacher_outputs import TeacherOutputs, compute_outputs
from evaluators.tasks.task import UNLABELLED
from evaluators.teachers.combine import combined
from evaluators.teachers.ensemble import Ensemble, ensemble_outputs
from evaluators.teachers.named import NamedTeacher, parse_teachers
from evaluators.teachers.teacher import Teacher
from understudy import ConfigError, TeacherError


class Fixed(Teacher):
    """Answers with pixels of each image, scaled."""

    channels = 1

    def __init__(self, name: str, row: int, resolution: int = 16, classes: int = 10) -> None:
        self.name = self.fingerprint = name
        self.row, self.resolution, self.classes = row, resolution, classes
        self.seen = 0

    def _answer(self, images: torch.Tensor) -> torch.Tensor:
        assert images.shape[-1] == self.resolution
        self.seen += len(images)
        return 8 * images[:, 0, self.row].repeat(1, 2)[:, : self.classes]


def logits(seed: int = 0) -> list[torch.Tensor]:
    generator = np.random.default_rng(seed)
    return [torch.tensor(3 * generator.standard_normal((6, 4)), dtype=torch.float32) for _ in range(3)]


def test_the_mean_is_that_of_probabilities():
    each = logits()
    found = combined("mean", each, [1.0, 2.0, 1.0], None)
    expected = np.average([softmax(one.numpy(), axis=1) for one in each], axis=0, weights=[1, 2, 1])
    np.testing.assert_allclose(found.exp(), expected, rtol=1e-4)


def test_one_teacher_stays_as_it_is():
    (first, *_) = logits()
    for rule in ("mean", "agreement"):
        alone = combined(rule, [first], [0.3], None)
        np.testing.assert_allclose(alone.softmax(1), first.softmax(1), rtol=1e-5)


@pytest.mark.parametrize("known", [True, False])
def test_agreement_is_the_papers_formula(known):
    each, targets = logits(), torch.tensor([0, 1, 2, 3, 0, UNLABELLED])
    probabilities = np.array([softmax(one.numpy(), axis=1) for one in each])
    said = probabilities.mean(0).argmax(1)
    wanted = np.where(targets.numpy() == UNLABELLED, said, targets.numpy()) if known else said
    expected = np.empty((6, 4))
    for row in range(6):
        entropies = -np.log(probabilities[:, row, wanted[row]])
        weights = (1 - np.exp(entropies) / np.exp(entropies).sum()) / 2
        expected[row] = weights @ probabilities[:, row] / weights.sum()
    found = combined("agreement", each, [1.0, 1.0, 1.0], targets if known else None)
    np.testing.assert_allclose(found.exp(), expected, rtol=1e-3)


def test_extreme_answers_stay_finite():
    sure = [1e4 * torch.eye(4), -1e4 * torch.eye(4)]
    for rule in ("mean", "agreement"):
        assert bool(torch.isfinite(combined(rule, sure, [1.0, 1.0], torch.arange(4)).softmax(1)).all())


def test_stored_outputs_are_combined_once_each_teacher_at_its_own_size(tmp_path):
    members = Fixed("a", 5), Fixed("b", 3, resolution=8)
    ensemble = Ensemble(members, [3.0, 1.0], "mean")
    heard = []
    stored = ensemble_outputs(ensemble, digits(), views=1, cache=tmp_path, progress=lambda *now: heard.append(now))
    assert heard == sorted(heard)
    assert heard[-1][0] == heard[-1][1]
    seen = [member.seen for member in members]
    again = ensemble_outputs(ensemble, digits(), views=1, cache=tmp_path)
    assert (again.folder, [member.seen for member in members]) == (stored.folder, seen)
    each = [compute_outputs(member, digits(), views=1, cache=tmp_path) for member in members]
    for split, view in (("test", 0), ("train", 1)):
        p, q = (softmax(np.array(one.logits(split, view)), axis=1) for one in each)
        found = TeacherOutputs(stored.folder, 1).logits(split, view)
        np.testing.assert_allclose(softmax(found, axis=1), 0.75 * p + 0.25 * q, atol=1e-5)


def test_labels_steer_the_training_answers_alone(tmp_path):
    members = Fixed("a", 5), Fixed("b", 3)
    by_rule = {
        rule: ensemble_outputs(Ensemble(members, [1.0, 1.0], rule), digits(), views=0, cache=tmp_path)
        for rule in ("mean", "agreement")
    }
    right = {
        rule: {
            split: np.take_along_axis(
                softmax(stored.logits(split), axis=1), digits().targets(split)[:, None], axis=1
            ).mean()
            for split in ("train", "test")
        }
        for rule, stored in by_rule.items()
    }
    assert right["agreement"]["train"] > right["mean"]["train"] + 0.01
    assert right["agreement"]["test"] < right["agreement"]["train"]


def test_other_weights_rules_and_members_have_other_fingerprints():
    a, b = Fixed("a", 5), Fixed("b", 3)
    made = [
        Ensemble((a, b), weights, rule)
        for weights, rule in (([1, 1], "mean"), ([2, 1], "mean"), ([1, 1], "agreement"))
    ]
    assert len({each.fingerprint for each in made}) == 3
    assert made[0].name == "a + b"
    assert made[0].module is None


def test_an_ensemble_answers_images_as_any_teacher():
    ensemble = Ensemble((Fixed("a", 5), Fixed("b", 3, resolution=8)), [1.0, 1.0], "mean")
    answers = ensemble.logits(torch.rand(3, 1, 16, 16))
    assert answers.exp().sum(1).numpy() == pytest.approx(np.ones(3), rel=1e-4)


def test_teachers_of_other_classes_are_refused_with_both_numbers():
    with pytest.raises(TeacherError, match="teacher b knows 7 classes, but teacher a 10"):
        Ensemble((Fixed("a", 5), Fixed("b", 3, classes=7)), [1.0, 1.0], "mean")


def test_teachers_are_named_with_weights():
    assert parse_teachers([]) == (NamedTeacher("builtin"),)
    assert parse_teachers(["none"]) == ()
    assert parse_teachers(["a.onnx", "google/vit=0.5"]) == (
        NamedTeacher("a.onnx"),
        NamedTeacher("google/vit", 0.5),
    )
    ours = parse_teachers(["builtin", "builtin:seed=1", "builtin:seed=2=0.5"])
    assert [(each.builtin, each.seed, each.weight) for each in ours] == [
        (True, None, 1.0),
        (True, 1, 1.0),
        (True, 2, 0.5),
    ]


def test_a_file_whose_name_holds_an_equals_sign_is_a_file(tmp_path):
    file = tmp_path / "lr=3"
    file.touch()
    assert parse_teachers([str(file)]) == (NamedTeacher(str(file)),)
    assert parse_teachers([f"{file}=2"]) == (NamedTeacher(str(file), 2.0),)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["none", "a.onnx"], "none stands alone, but got none, a.onnx"),
        (["a.onnx=0"], "a number above 0, as in NAME=0.7, but got 'a.onnx=0'"),
        (["a.onnx=much"], "a number above 0, .* but got 'a.onnx=much'"),
        (["a.onnx", "a.onnx=2"], "teacher a.onnx is named twice"),
    ],
)
def test_other_texts_are_refused(texts, message):
    with pytest.raises(ConfigError, match=message):
        parse_teachers(texts)
