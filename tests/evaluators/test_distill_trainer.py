from __future__ import annotations

import hashlib
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from distiller_contract import ConvNet, digits, outputs, teacher
from torch import nn

from evaluators.distill.evaluate import accuracy, agreement, batches, predict_logits
from evaluators.distill.layout import lay_out
from evaluators.distill.methods.response import HardLabels, SoftTargets
from evaluators.distill.schedule import Schedule, final_schedule, search_schedule
from evaluators.distill.teacher_outputs import compute_outputs
from evaluators.distill.trainer import seeded, train_student
from evaluators.teachers.teacher import ModuleTeacher, Normalised, Teacher
from understudy import ConfigError, TeacherError, TrainError

ROOT = Path(__file__).parents[2]
SHORT = Schedule(2, batch_size=64, views=2)


def train(distiller=None, schedule=SHORT, resolution=8, **options):
    with seeded(3):
        network = ConvNet(1, 8, 10)
    settings = {"teacher_outputs": outputs(), "reference": outputs(), "seed": 3, **options}
    trained = train_student(
        network,
        digits(),
        resolution=resolution,
        distiller=distiller or HardLabels(),
        schedule=schedule,
        **settings,
    )
    return network, trained


def digest(state):
    content = b"".join(value.contiguous().numpy().tobytes() for _, value in sorted(state.items()))
    return hashlib.sha256(content).hexdigest()


def test_the_figures_are_those_of_the_returned_weights(tmp_path):
    itself = ModuleTeacher(
        Normalised(ConvNet(1, 4, 10), [0.5], [0.5]),
        name="it",
        classes=10,
        channels=1,
        resolution=8,
        fingerprint="i",
    )
    reference = compute_outputs(itself, digits(), views=0, cache=tmp_path)
    network, trained = train(schedule=Schedule(6, views=4), reference=reference)
    assert not network.training
    fresh = ConvNet(1, 8, 10)
    fresh.load_state_dict(trained.state_dict)
    logits = predict_logits(fresh, digits(), "val", 8)
    assert trained.val_accuracy == accuracy(logits, digits().targets("val"))
    assert trained.agreement == agreement(logits, np.array(reference.logits("val")))
    assert trained.val_accuracy > 0.8
    assert trained.history[-1].val_accuracy == trained.val_accuracy


def test_another_process_gives_the_same_weights():
    code = (
        "import sys, torch; torch.set_num_threads(%d); sys.path[:0] = ['tests/contracts', 'tests/evaluators'];"
        "from test_distill_trainer import *; print(digest(train(SoftTargets())[1].state_dict))"
    )
    here = digest(train(SoftTargets())[1].state_dict)
    there = subprocess.run(
        [sys.executable, "-c", code % torch.get_num_threads()],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert there.stdout.strip() == here


def test_weights_are_laid_out_as_they_came():
    network, trained = train()
    assert all(value.is_contiguous() for value in network.state_dict().values())
    assert all(value.is_contiguous() for value in trained.state_dict.values())


def test_global_generators_are_left_alone():
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    train()
    assert torch.rand(1) == expected


def test_every_step_and_validation_batch_is_guarded():
    entered = []

    @contextmanager
    def guard():
        entered.append(1)
        yield

    _, trained = train(step_guard=guard)
    steps = len(batches(np.arange(digits().size("train")), 64))
    checks = sum(figures.val_accuracy is not None for figures in trained.history)
    assert len(entered) == 2 * steps + checks * len(batches(np.arange(digits().size("val")), 128))


def test_on_epoch_hears_of_every_epoch_and_may_end_the_training():
    heard = []

    def stop(figures):
        heard.append(figures)
        if figures.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(schedule=Schedule(4, batch_size=64, views=1, validations=4), on_epoch=stop)
    assert [(figures.epoch, figures.epochs) for figures in heard] == [(1, 4), (2, 4)]
    assert all(0 <= figures.val_accuracy <= 1 for figures in heard)


class Breaking(HardLabels):
    """Gives NaN from the 30th step on."""

    def prepared(self, student, teacher):
        self.__dict__["steps"] = 0
        return self

    def loss(self, student, teacher, targets):
        loss = super().loss(student, teacher, targets)
        self.__dict__["steps"] += 1
        return loss if self.steps < 30 else type(loss)(loss.total * float("nan"), loss.task, loss.distillation)


def test_divergence_is_an_error_with_its_place():
    with pytest.raises(TrainError, match=r"epoch 2, step \d+ of \d+, with loss nan; the last good epoch was 1"):
        train(Breaking())


class NeedsLayers(SoftTargets):
    teacher_layers = ("network.high",)


class Closed(Teacher):
    """A teacher that is no torch module."""

    name, classes, channels, resolution, fingerprint = "closed", 10, 1, 16, "c"

    def _answer(self, images):
        return torch.zeros(len(images), 10)


@pytest.mark.parametrize(
    ("distiller", "options", "error", "text"),
    [
        (SoftTargets(), {"teacher_outputs": None}, ConfigError, "give the teacher's outputs"),
        (NeedsLayers(), {}, ConfigError, "give the teacher, not only its outputs"),
        (NeedsLayers(), {"teacher": Closed()}, TeacherError, "no layers for distiller"),
    ],
)
def test_a_missing_source_is_named(distiller, options, error, text):
    with pytest.raises(error, match=text):
        train(distiller, **options)


def test_a_layer_that_the_teacher_lacks_is_named():
    class Elsewhere(SoftTargets):
        teacher_layers = ("network.hihg",)

    with pytest.raises(ConfigError, match=r"the teacher has no layer 'network.hihg'"):
        train(Elsewhere(), teacher=teacher())


def test_views_beyond_the_stored_ones_are_refused():
    with pytest.raises(TeacherError, match="computes what is missing"):
        train(SoftTargets(), schedule=Schedule(4, views=4))


def test_batches_hold_everything_in_near_equal_parts():
    parts = batches(np.arange(130), 64)
    assert [len(part) for part in parts] == [65, 65]
    assert np.array_equal(np.concatenate(parts), np.arange(130))
    assert len(batches(np.arange(3), 64)) == 1


def test_the_rate_climbs_then_falls_to_nothing():
    schedule = Schedule(10, learning_rate=0.2, warmup_epochs=2)
    rates = [schedule.rate(epoch / 10) for epoch in range(100)]
    assert max(rates) == pytest.approx(0.2)
    assert rates.index(max(rates)) == 20
    assert 0 < rates[0] < 0.01
    assert schedule.rate(10) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("epochs", "validations"), [(10, 4), (3, 4), (1, 1), (7, 2)])
def test_validations_are_spread_and_the_last_epoch_has_one(epochs, validations):
    when = [epoch for epoch in range(epochs) if Schedule(epochs, validations=validations).validates(epoch)]
    assert len(when) == min(epochs, validations)
    assert when[-1] == epochs - 1


def test_views_take_turns_until_the_clean_end():
    assert [Schedule(5, views=2).view(epoch) for epoch in range(5)] == [1, 2, 1, 2, 0]
    assert Schedule(5, views=0).view(3) == 0


@pytest.mark.parametrize("samples", [20, 1257, 50_000, 1_000_000])
def test_the_final_training_is_longer_than_a_candidates(samples):
    assert final_schedule(samples).epochs > search_schedule(samples).epochs
    assert search_schedule(samples, 3).epochs == 3
    with pytest.raises(ConfigError, match="epochs must be above 0"):
        search_schedule(samples, 0)


def test_a_finalist_is_patient_and_sees_views_to_the_end_where_samples_vary():
    patient = final_schedule(2100)
    assert patient.view(patient.epochs - 1) > 0
    for other in (final_schedule(2100, varied=False), final_schedule(2100, optimiser="adamw")):
        assert patient.epochs > 1.5 * other.epochs
    maps = final_schedule(2100, dense=True)
    assert maps.view(maps.epochs - 1) == 0


def test_a_network_whose_gradient_torch_writes_past_its_memory_keeps_its_layout():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 8, 1, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    lay_out(network, torch.rand(2, 3, 16, 16))
    network(torch.rand(32, 3, 16, 16)).square().mean().backward()
    assert network[0].weight.is_contiguous()


def test_a_network_that_flattens_by_view_is_taught_too():
    class Viewing(ConvNet):
        def forward(self, images):
            features = self.high(self.low(images))
            return self.last(features.view(len(features), -1))

    network = Viewing(1, 8, 10)
    network.last = torch.nn.Linear(16 * 4, 10)
    trained = train_student(
        network,
        digits(),
        resolution=8,
        distiller=HardLabels(),
        teacher_outputs=None,
        schedule=SHORT,
        seed=0,
    )
    assert trained.agreement is None
    assert trained.val_accuracy > 0.3
