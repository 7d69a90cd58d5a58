"""Images from a teacher alone."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from distiller_contract import ConvNet, digits
from torch import nn
from torch.nn import functional

from evaluators.datafree.statistics import NormStatistics
from evaluators.datafree.synthesis import Bank, Recipe, synthesise
from evaluators.datafree.task import AGREEMENT, JUDGED, blank_task, synthetic_task
from evaluators.distill.evaluate import accuracy
from evaluators.distill.trainer import seeded
from evaluators.teachers.teacher import ModuleTeacher, Normalised, Teacher
from search.config import SearchConfig
from search.synthesis import read_figures, read_shape, synthetic_data
from understudy import ConfigError, DataError, TeacherError

QUICK = Recipe(batch=20, steps=6, lesson=2)


def taught(network: nn.Module | None = None) -> Teacher:
    """A network taught a little on digits of 8 pixels, as a teacher."""
    task = digits()
    with seeded(0):
        network = network or ConvNet(1, 8, 10)
        optimiser = torch.optim.Adam(network.parameters(), 0.01)
        for step in range(60):
            ids = np.arange(64 * step, 64 * step + 64) % task.size("train")
            targets = torch.tensor(task.targets("train")[ids])
            loss = functional.cross_entropy(network(task.batch("train", ids, 8)), targets)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return ModuleTeacher(
        Normalised(network.eval(), task.mean, task.std),
        name="small",
        classes=10,
        channels=1,
        resolution=8,
        fingerprint="small",
    )


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    return taught()


def blank():
    return blank_task(10, 1, 8, digits().mean, digits().std)


def test_statistics_are_nearer_for_real_images_than_for_noise(teacher):
    real = digits().images("train", np.arange(256), 8)
    distances = []
    with NormStatistics(teacher.module) as statistics, torch.no_grad():
        for images in (real, torch.rand(real.shape)):
            teacher.module(images)
            distances.append(float(statistics.distance()))
    assert 0 < distances[0] < distances[1] / 2


def test_generated_images_are_what_the_teacher_names_and_near_its_statistics(teacher):
    bank = Bank()
    batches = list(islice(synthesise(teacher, 1, 8, replace(QUICK, batch=40, steps=15), 0, bank), 6))
    assert [len(batch) for batch in batches] == [40] * 6
    images = torch.cat(batches)
    assert 0 <= float(images.min()) < float(images.max()) <= 1
    named = torch.cat([logits.argmax(1) for logits in bank.logits])
    assert len(named.unique()) >= 5


def test_a_task_goes_on_after_a_kill_and_is_made_once(teacher, tmp_path: Path):
    def killed(done: int, total: int) -> None:
        if done >= 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthetic_task(teacher, blank(), QUICK, 80, cache=tmp_path, seed=0, progress=killed)
    (batches,) = tmp_path.glob("*-batches")
    kept = {path.name: path.read_bytes() for path in batches.iterdir()}
    assert sorted(kept) == ["0.npy", "1.npy"]
    heard: list[int] = []
    task = synthetic_task(
        teacher, blank(), QUICK, 80, cache=tmp_path, seed=0, progress=lambda done, _: heard.append(done)
    )
    assert heard == [60, 80]
    assert sum(task.counts.values()) == 80
    assert task.notes == (AGREEMENT,)
    assert (task.mean, task.std) == (digits().mean, digits().std)
    images = task.images("val", np.arange(task.size("val")), 8)
    assert accuracy(teacher.logits(images), task.targets("val")) == 1
    assert synthetic_task(teacher, blank(), QUICK, 80, cache=tmp_path, seed=0).folder == task.folder


def test_validation_data_only_judge(teacher, tmp_path: Path):
    task = synthetic_task(teacher, blank(), QUICK, 40, cache=tmp_path, seed=0, judge=digits())
    assert task.notes == (JUDGED,)
    assert task.size("train") == 40
    for split in ("val", "test"):
        assert (task.targets(split) == digits().targets(split)).all()
        assert (task.pixels(split, 8) == digits().pixels(split, 8)).all()
    with pytest.raises(DataError, match="10 classes and 1 channels, but the teacher has 10 and 3 as told"):
        synthetic_task(teacher, replace(blank(), channels=3), QUICK, 20, cache=tmp_path, seed=1, judge=digits())


def test_an_inversion_needs_batch_norm(teacher):
    bare = taught(nn.Sequential(nn.Conv2d(1, 8, 3, 2), nn.ReLU(), nn.Flatten(), nn.LazyLinear(10)))
    with pytest.raises(TeacherError, match="has no batch norm, whose statistics an inversion reads"):
        next(synthesise(bare, 1, 8, Recipe.of("inversion"), 0, Bank()))
    for recipe in (QUICK, replace(Recipe.of("inversion"), steps=4, batch=10)):
        able = bare if recipe.method == "generator" else teacher
        assert next(synthesise(able, 1, 8, recipe, 0, Bank())).shape == (recipe.batch, 1, 8, 8)


def test_options_that_are_missing_or_wrong_are_named(tmp_path: Path):
    with pytest.raises(ConfigError, match="--input-shape, such as 3x32x32"):
        synthetic_data(SearchConfig(data="none", classes=10, input_shape="1x8x8"), tmp_path, None)
    with pytest.raises(ConfigError, match="one of generator, inversion, but got 'gan'"):
        synthetic_data(SearchConfig(data="none", synthesis="gan"), tmp_path, None)
    assert read_shape("3x32x32") == (3, 32)
    for wrong in ("32x32", "3x32x16", "2x32x32", "3x30x30", "axbxc"):
        with pytest.raises(ConfigError, match="input_shape must"):
            read_shape(wrong)
    assert read_figures("input_std", "0.5", 3, 1.0) == (0.5, 0.5, 0.5)
    for wrong in ("a", "1,2", "0"):
        with pytest.raises(ConfigError, match="input_std must be numbers"):
            read_figures("input_std", wrong, 3, 1.0)
