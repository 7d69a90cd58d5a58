"""What must hold for every distiller: a test file lists its distillers and applies ``CHECKS`` to each.

The student is narrower than the teacher and sees smaller images, so no shapes agree by chance.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from evaluators.distill.distiller import Distiller, Loss
from evaluators.distill.features import FeatureCapture
from evaluators.distill.schedule import Schedule
from evaluators.distill.signals import Signals
from evaluators.distill.teacher_outputs import TeacherOutputs, compute_outputs
from evaluators.distill.trainer import Trained, seeded, train_student
from evaluators.tasks.image_task import ImageTask
from evaluators.tasks.load import load_task
from evaluators.teachers.teacher import ModuleTeacher, Normalised, Teacher
from understudy import TrainError

VIEWS = 2


class ConvNet(nn.Sequential):
    """A few thousand parameters; layers ``low``, ``high`` and ``head``."""

    def __init__(self, channels: int, width: int, classes: int) -> None:
        super().__init__()
        self.low = _conv(channels, width)
        self.high = _conv(width, 2 * width)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2 * width, classes))


def _conv(before: int, after: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(before, after, 3, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU())


@dataclass(frozen=True)
class Case:
    """A distiller by how it is made."""

    make: Callable[[], Distiller]

    @property
    def distiller(self) -> Distiller:
        return self.make()

    @property
    def attached(self) -> Distiller:
        """The distiller as it has met both networks."""
        return self.distiller.attached(ConvNet(1, 8, 10), teacher(), torch.rand(1, 1, 8, 8))

    def signals(self, seed: int = 0, size: int = 12) -> tuple[Signals, Signals, torch.Tensor]:
        """Student, teacher and targets of one random batch; both networks' own parameters want gradients."""
        attached = self.attached
        with seeded(seed):
            wide = Normalised(ConvNet(1, 16, 10), [0.0], [1.0])
            student = _signals(ConvNet(1, 8, 10), torch.rand(size, 1, 8, 8), attached.student_layers)
            teacher = _signals(wide, torch.rand(size, 1, 16, 16), attached.teacher_layers)
            return student, teacher, torch.randint(0, 10, (size,))

    def loss(self, with_targets: bool = True) -> tuple[Loss, Signals]:
        student, teacher, targets = self.signals()
        used = Signals(teacher.logits.detach(), {n: f.detach() for n, f in teacher.features.items()})
        used = used if self.distiller.uses_teacher else Signals.none()
        ready = self.attached.prepared(student, used)
        return ready.loss(student, used, targets if with_targets else None), student

    def train(self, epochs: int = 2, seed: int = 0) -> Trained:
        with seeded(seed):
            network = ConvNet(1, 8, 10)
        return train_student(
            network,
            digits(),
            resolution=8,
            distiller=self.distiller,
            teacher_outputs=outputs(),
            schedule=Schedule(epochs, batch_size=64, views=VIEWS),
            seed=seed,
            teacher=teacher(),
        )


def _signals(network: nn.Module, images: torch.Tensor, layers: tuple[str, ...]) -> Signals:
    with FeatureCapture(network, layers) as capture:
        return Signals(network(images), dict(capture.features), images, torch.arange(len(images)))


@functools.cache
def _scratch() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="understudy-tests-")


def scratch_folder() -> Path:
    """A folder that lasts as long as the tests."""
    return Path(_scratch().name)


@functools.cache
def digits() -> ImageTask:
    return load_task("digits", cache=scratch_folder(), seed=0)


@functools.cache
def teacher() -> Teacher:
    """An untrained teacher: what it says is arbitrary, but the same in every run."""
    task = digits()
    with seeded(1):
        network = Normalised(ConvNet(task.channels, 16, task.classes), task.mean, task.std)
    return ModuleTeacher(
        network, name="arbitrary", classes=task.classes, channels=task.channels, resolution=16, fingerprint="a1"
    )


@functools.cache
def outputs() -> TeacherOutputs:
    return compute_outputs(teacher(), digits(), views=VIEWS, cache=scratch_folder())


def the_losses_are_finite_scalars(case):
    loss, _ = case.loss()
    for part in (loss.total, loss.task, loss.distillation):
        assert part.ndim == 0
        assert bool(torch.isfinite(part))


def the_total_teaches_the_student(case):
    loss, student = case.loss()
    (gradient,) = torch.autograd.grad(loss.total, student.logits, retain_graph=True)
    assert float(gradient.abs().sum()) > 0


def wanted_features_teach_the_student(case):
    loss, student = case.loss()
    for name in case.attached.student_layers:
        (gradient,) = torch.autograd.grad(loss.distillation, student.features[name], retain_graph=True)
        assert float(gradient.abs().sum()) > 0, name


def data_without_labels_is_taught_or_refused(case):
    if not case.distiller.uses_teacher:
        with pytest.raises(TrainError, match="no labels"):
            case.loss(with_targets=False)
        return
    loss, _ = case.loss(with_targets=False)
    assert float(loss.task) == 0
    assert bool(torch.isfinite(loss.total))


def preparing_leaves_the_recipe_as_it_was(case):
    student, teacher_signals, _ = case.signals()
    recipe = case.attached
    before = list(recipe.parameters())
    recipe.prepared(student, teacher_signals)
    assert list(recipe.parameters()) == before


def training_lowers_the_loss(case):
    history = case.train(epochs=3).history
    assert history[-1].loss < history[0].loss


def the_same_seed_gives_the_same_weights(case):
    first, again, other = case.train(), case.train(), case.train(seed=1)
    same = [torch.equal(value, again.state_dict[name]) for name, value in first.state_dict.items()]
    assert all(same)
    assert not np.allclose(first.state_dict["low.0.weight"], other.state_dict["low.0.weight"])


CHECKS = (
    the_losses_are_finite_scalars,
    the_total_teaches_the_student,
    wanted_features_teach_the_student,
    data_without_labels_is_taught_or_refused,
    preparing_leaves_the_recipe_as_it_was,
    training_lowers_the_loss,
    the_same_seed_gives_the_same_weights,
)
