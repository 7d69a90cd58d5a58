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

from evaluators.datafree.bank import Bank
from evaluators.datafree.generator import Generator, codes
from evaluators.datafree.objective import variety
from evaluators.datafree.statistics import NormStatistics
from evaluators.datafree.synthesis import Recipe, synthesise
from evaluators.datafree.task import AGREEMENT, JUDGED, blank_task, synthetic_task
from evaluators.distill.evaluate import accuracy
from evaluators.distill.trainer import seeded
from evaluators.teachers.teacher import ModuleTeacher, Normalised, Teacher, resized
from search.config import SearchConfig
from search.synthesis import picture_side, read_figures, read_shape, synthetic_data
from understudy import ConfigError, DataError, TeacherError

QUICK = Recipe(batch=40, steps=4, lesson=2, kept=20)


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


def test_generated_images_are_what_the_teacher_names_and_near_its_statistics(teacher, tmp_path: Path):
    bank = Bank(tmp_path)
    parts = list(islice(synthesise(teacher, 1, 8, replace(QUICK, steps=25, kept=50), 0, bank), 3))
    assert [part.shape for part in parts] == [(50, 1, 8, 8)] * 3
    assert np.bincount(bank.named, minlength=10).min() >= 3
    images = torch.cat(parts).float() / 255
    distances = []
    with NormStatistics(teacher.module) as statistics, torch.no_grad():
        for seen in (images, torch.rand(images.shape)):
            teacher.module(seen)
            distances.append(float(statistics.distance()))
    assert distances[0] < distances[1] / 2


def test_variety_is_more_where_images_of_a_class_differ():
    few = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    same, unlike = few.repeat(4, 1, 1, 1), torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    assert float(variety(same, 5)) == pytest.approx(np.log(1e-3), abs=1e-3)
    assert float(variety(unlike, 5)) > float(variety(same, 5)) + 3


@pytest.mark.parametrize(("size", "start"), [(8, 2), (12, 3), (32, 8), (56, 7), (60, 15), (224, 7)])
def test_images_of_any_side_are_grown_from_few_pixels(size, start):
    generator = Generator(3, size, 5, width=4)
    images = generator(codes(2, torch.Generator().manual_seed(0)), torch.tensor([0, 4]))
    assert images.shape == (2, 3, size, size)
    assert generator.start == (8, start, start)


def test_many_classes_take_turns(tmp_path: Path):
    with seeded(0):
        network = nn.Sequential(nn.Flatten(), nn.Linear(64, 24))
        nn.init.normal_(network[1].weight)
    many = ModuleTeacher(network, name="many", classes=24, channels=1, resolution=8, fingerprint="many")
    bank = Bank(tmp_path)
    list(islice(synthesise(many, 1, 8, replace(QUICK, steps=30, adversary=0, variety=0), 0, bank), 3))
    for part, classes in enumerate((range(10), range(10, 20), [*range(20, 24), *range(6)])):
        assert np.isin(bank.named[20 * part : 20 * part + 20], classes).mean() > 0.7


def test_a_task_goes_on_after_a_kill_and_is_made_once(teacher, tmp_path: Path):
    def killed(done: int, total: int) -> None:
        if done >= 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthetic_task(teacher, blank(), QUICK, 80, cache=tmp_path, seed=0, progress=killed)
    (begun,) = tmp_path.glob("*-bank")
    assert {path.name for path in begun.iterdir()} == {
        f"{number}{what}" for number in range(2) for what in ("-logits.npy", "-carried.safetensors", ".npy")
    }
    (begun / "2-logits.npy").write_bytes(b"cut")
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
    assert not begun.exists()
    begun.mkdir()  # as a kill would leave it after the task was laid out
    assert synthetic_task(teacher, blank(), QUICK, 80, cache=tmp_path, seed=0).folder == task.folder
    assert not begun.exists()
    unharmed = synthetic_task(teacher, blank(), QUICK, 80, cache=tmp_path / "unharmed", seed=0)
    assert (unharmed.pixels("train", 8) == task.pixels("train", 8)).all()


def test_validation_data_only_judge(teacher, tmp_path: Path):
    task = synthetic_task(teacher, blank(), QUICK, 40, cache=tmp_path, seed=0, judge=digits())
    assert task.notes == (JUDGED,)
    assert task.size("train") == 40
    for split in ("val", "test"):
        assert (task.targets(split) == digits().targets(split)).all()
        assert (task.pixels(split, 8) == digits().pixels(split, 8)).all()
    with pytest.raises(DataError, match="10 classes and 1 channels, but the teacher has 10 and 3 as told"):
        synthetic_task(teacher, replace(blank(), channels=3), QUICK, 20, cache=tmp_path, seed=1, judge=digits())


def test_pictures_that_are_scaled_up_for_the_teacher_are_made_at_their_own_size(tmp_path: Path):
    with seeded(0):
        network = ConvNet(1, 8, 10).eval()
    wide = ModuleTeacher(network, name="wide", classes=10, channels=1, resolution=16, fingerprint="wide")
    task = synthetic_task(wide, replace(blank(), image_size=16), QUICK, 40, side=8, cache=tmp_path, seed=0)
    assert [task.pixels("train", size).shape[2:] for size in (8, 16)] == [(8, 8), (16, 16)]
    images = task.images("train", np.arange(task.size("train")), 16)
    assert (wide.logits(images).argmax(1).numpy() == task.targets("train")).mean() > 0.9  # but for rounding
    small = task.images("train", np.arange(task.size("train")), 8)
    assert float((resized(small, 16) - images).abs().max()) < 1.01 / 255


def test_an_inversion_needs_batch_norm(teacher, tmp_path: Path):
    bare = taught(nn.Sequential(nn.Conv2d(1, 8, 3, 2), nn.ReLU(), nn.Flatten(), nn.LazyLinear(10)))
    with pytest.raises(TeacherError, match="has no batch norm, whose statistics an inversion reads"):
        next(synthesise(bare, 1, 8, Recipe.of("inversion"), 0, Bank(tmp_path)))
    for recipe in (QUICK, replace(Recipe.of("inversion"), steps=4, batch=20)):
        able = bare if recipe.method == "generator" else teacher
        bank = Bank(tmp_path / recipe.method)
        assert next(synthesise(able, 1, 8, recipe, 0, bank)).shape == (20, 1, 8, 8)


def test_options_that_are_missing_or_wrong_are_named(tmp_path: Path):
    with pytest.raises(ConfigError, match="--input-shape, such as 3x32x32"):
        synthetic_data(SearchConfig(data="none", classes=10, input_shape="1x8x8"), tmp_path, None)
    with pytest.raises(ConfigError, match="one of generator, inversion, but got 'gan'"):
        synthetic_data(SearchConfig(data="none", synthesis="gan"), tmp_path, None)
    assert read_shape("3x32x32") == (3, 32)
    for wrong in ("32x32", "3x32x16", "2x32x32", "3x30x30", "axbxc"):
        with pytest.raises(ConfigError, match="input_shape must"):
            read_shape(wrong)
    assert (picture_side(None, 32), picture_side(12, 32)) == (32, 12)
    for side in (4, 10, 36):
        with pytest.raises(ConfigError, match=f"up to the 32 pixels that the teacher takes, but got {side}"):
            picture_side(side, 32)
    assert read_figures("input_std", "0.5", 3, 1.0) == (0.5, 0.5, 0.5)
    for wrong in ("a", "1,2", "0"):
        with pytest.raises(ConfigError, match="input_std must be numbers"):
            read_figures("input_std", wrong, 3, 1.0)
