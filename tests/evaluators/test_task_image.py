"""A prepared task: splits, pixels, preprocessing equal to the bundle's, reopening, sharing by processes."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from evaluators.tasks.image_task import ImageTask
from evaluators.tasks.load import load_task
from evaluators.tasks.task import SPLITS
from results.bundle import runner
from understudy import ConfigError, DataError


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> ImageTask:
    return load_task("digits", cache=tmp_path_factory.mktemp("cache"), seed=0)


def make_folder(root: Path, count: int = 10, size: tuple[int, int] = (40, 30)) -> Path:
    generator = np.random.default_rng(0)
    for label in ("ant", "bee"):
        (root / label).mkdir(parents=True)
        for number in range(count):
            pixels = generator.integers(0, 256, (size[1], size[0], 3), np.uint8)
            Image.fromarray(pixels).save(root / label / f"{number}.png")
    return root


def test_digits(digits: ImageTask) -> None:
    assert (digits.channels, digits.image_size, digits.classes) == (1, 16, 10)
    assert [digits.size(split) for split in SPLITS] == [1259, 269, 269]
    for split in SPLITS:
        shares = np.bincount(digits.targets(split)) / digits.size(split)
        assert digits.pixels(split, 16).shape == (digits.size(split), 1, 16, 16)
        assert shares.min() > 0.09
        assert shares.max() < 0.11
    train = digits.batch("train", np.arange(1259), 16)
    assert abs(float(train.mean())) < 1e-4
    assert abs(float(train.std()) - 1) < 1e-3


def test_splits_are_disjoint_and_follow_the_seed(tmp_path: Path) -> None:
    first, again, other = (load_task("digits", cache=tmp_path / str(n), seed=s) for n, s in enumerate((1, 1, 2)))
    order = np.load(first.folder / "order.npy")
    assert sorted(order) == list(range(1797))
    assert first.fingerprint == again.fingerprint != other.fingerprint


@pytest.mark.parametrize("resolution", [30, 24, 48])
def test_batches_are_what_the_bundle_computes(tmp_path: Path, resolution: int) -> None:
    folder = make_folder(tmp_path / "data")
    task = load_task(str(folder), cache=tmp_path / "cache", seed=0)
    paths = json.loads((task.folder / "files.json").read_text())
    order = np.load(task.folder / "order.npy")
    spec = task.preprocess(resolution)
    expected = np.concatenate([runner.preprocess(paths[index], spec) for index in order[: task.size("train")]])
    batch = task.batch("train", np.arange(task.size("train")), resolution)
    np.testing.assert_allclose(batch.numpy(), expected, atol=1e-5)


def test_reopening_gives_the_same(digits: ImageTask) -> None:
    for twin in (ImageTask.open(digits.folder), pickle.loads(pickle.dumps(digits))):
        assert twin == digits
        torch.testing.assert_close(twin.batch("val", [3, 1], 12, view=2), digits.batch("val", [3, 1], 12, view=2))


def test_preparing_twice_changes_nothing(digits: ImageTask) -> None:
    before = (digits.folder / "pixels-16.npy").stat().st_mtime_ns
    assert load_task("digits", cache=digits.folder.parent, seed=0) == digits
    assert (digits.folder / "pixels-16.npy").stat().st_mtime_ns == before


def test_augmentation_can_be_chosen(tmp_path: Path) -> None:
    task = load_task("digits", cache=tmp_path, seed=0, augment="none", image_size=8)
    torch.testing.assert_close(task.images("train", [0], 8, view=3), task.images("train", [0], 8))
    assert task.image_size == 8
    with pytest.raises(ConfigError, match="unknown augmentation"):
        load_task("digits", cache=tmp_path, seed=0, augment="all")


def test_processes_share_one_set_of_pixels(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from evaluators.tasks.load import load_task\n"
        "task = load_task('digits', cache=Path(sys.argv[1]), seed=0)\n"
        "print(task.fingerprint, int(task.pixels('val', 20).sum()))"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    workers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = {worker.communicate()[0] for worker in workers}
    assert len(answers) == 1
    assert all(worker.returncode == 0 for worker in workers)
    assert not [path for path in tmp_path.rglob("*") if "tmp" in path.name or "draft" in path.name]


def test_equal_pictures_elsewhere_are_read_there(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "data")
    first = load_task(str(folder), cache=tmp_path / "cache", seed=0)
    folder.rename(tmp_path / "moved")
    moved = load_task(str(tmp_path / "moved"), cache=tmp_path / "cache", seed=0)
    assert moved.fingerprint == first.fingerprint
    assert moved.pixels("val", 20).shape == (4, 3, 20, 20)


def test_score(digits: ImageTask) -> None:
    logits = torch.tensor([[2.0, 1.0], [0.0, 3.0], [1.0, 0.0], [5.0, 1.0]])
    assert digits.score(logits, np.array([0, 1, 1, 0])) == 0.75


def test_no_task_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="prepare the data again"):
        ImageTask.open(tmp_path)
