"""Every kind of data, and every way in which a user's data can be wrong."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from evaluators.tasks.augment import POLICIES
from evaluators.tasks.image_task import ImageTask
from evaluators.tasks.load import load_task
from evaluators.tasks.prepare import default_size
from understudy import DataError

DATA = Path(__file__).parents[2].parent / "shared" / "data"


def picture(number: int, size: int = 12, grey: bool = False) -> Image.Image:
    shape = (size, size) if grey else (size, size, 3)
    return Image.fromarray(np.random.default_rng(number).integers(0, 256, shape, np.uint8))


def fill(root: Path, labels: tuple[str, ...] = ("ant", "bee"), count: int = 8, start: int = 0, **how: Any) -> Path:
    for place, label in enumerate(labels):
        (root / label).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            picture(start + 100 * place + number, **how).save(root / label / f"{number}.png")
    return root


def load(spec: Path | str, tmp_path: Path, **how: Any) -> ImageTask:
    return load_task(str(spec), cache=tmp_path / "cache", seed=0, **how)


def test_folder_of_class_folders(tmp_path: Path) -> None:
    task = load(fill(tmp_path / "data"), tmp_path)
    assert (task.labels, task.channels, task.image_size) == (("ant", "bee"), 3, 16)
    assert task.counts == {"train": 12, "val": 2, "test": 2}
    assert task.notes == ()


@pytest.mark.parametrize("name", ["val", "validation"])
def test_folder_with_splits(tmp_path: Path, name: str) -> None:
    for part, split in enumerate(("train", name, "test")):
        fill(tmp_path / "data" / split, count=4, start=1000 * part)
    assert load(tmp_path / "data", tmp_path).counts == {"train": 8, "val": 8, "test": 8}


def test_validation_comes_from_train_where_it_is_missing(tmp_path: Path) -> None:
    fill(tmp_path / "data" / "train", count=10)
    fill(tmp_path / "data" / "test", count=3, start=1000)
    assert load(tmp_path / "data", tmp_path).counts == {"train": 16, "val": 4, "test": 6}


def test_shared_pictures_are_noted(tmp_path: Path) -> None:
    fill(tmp_path / "data" / "train", count=4)
    fill(tmp_path / "data" / "val", count=4, start=1000)
    fill(tmp_path / "data" / "test", count=4)
    assert load(tmp_path / "data", tmp_path).notes[0].startswith("8 images of the validation or test split")


def test_grey_and_mixed_pictures(tmp_path: Path) -> None:
    fill(tmp_path / "grey", grey=True)
    assert load(tmp_path / "grey", tmp_path).channels == 1
    picture(7).save(tmp_path / "grey" / "ant" / "colour.png")
    assert load(tmp_path / "grey", tmp_path).channels == 3


def test_unreadable_pictures_are_refused_or_skipped(tmp_path: Path) -> None:
    folder = fill(tmp_path / "data", size=40)
    whole = (folder / "ant" / "0.png").read_bytes()
    (folder / "ant" / "text.jpg").write_text("not a picture")
    (folder / "bee" / "torn.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"text.jpg cannot be read as an image.*--skip-bad"):
        load(folder, tmp_path)
    (folder / "ant" / "text.jpg").unlink()
    with pytest.raises(DataError, match=r"torn.png"):
        load(folder, tmp_path)
    task = load(folder, tmp_path, on_bad="skip")
    assert sum(task.counts.values()) == 16
    assert "1 unreadable images were left out" in task.notes[0]
    assert "torn.png" in task.notes[0]


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no folder or file"):
        load(tmp_path / "absent", tmp_path)
    (tmp_path / "empty" / "ant").mkdir(parents=True)
    with pytest.raises(DataError, match="no images in"):
        load(tmp_path / "empty", tmp_path)
    with pytest.raises(DataError, match="fewer than two classes"):
        load(fill(tmp_path / "one", ("ant",)), tmp_path)
    fill(tmp_path / "few", count=5)
    fill(tmp_path / "few", ("cow",), count=2, start=900)
    with pytest.raises(DataError, match=r"'cow' has 2 .* at least 3"):
        load(tmp_path / "few", tmp_path)
    fill(tmp_path / "strange" / "train", count=4)
    fill(tmp_path / "strange" / "test", ("ant", "cow"), count=4, start=900)
    with pytest.raises(DataError, match=r"'cow' .* not in its train folder"):
        load(tmp_path / "strange", tmp_path)


def pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize(
    ("images", "channels"),
    [
        (pixels(12, 9, 9), 1),
        (pixels(12, 9, 9, 3), 3),
        (pixels(12, 3, 9, 9), 3),
        (pixels(12, 9, 9, 3) / 255, 3),
        (pixels(12, 1, 9, 9).astype(np.float32) / 255, 1),
    ],
)
def test_npz_layouts(tmp_path: Path, images: np.ndarray, channels: int) -> None:
    np.savez(tmp_path / "d.npz", images=images, labels=np.arange(12) % 2 + 5)
    task = load(tmp_path / "d.npz", tmp_path)
    assert (task.labels, task.channels, sum(task.counts.values())) == (("5", "6"), channels, 12)


def test_npz_splits_and_names(tmp_path: Path) -> None:
    y = np.arange(12) % 2
    parts = {"x_train": pixels(12, 8, 8), "y_train": y, "x_test": pixels(12, 8, 8), "y_test": y}
    np.savez(tmp_path / "d.npz", **parts, class_names=np.array(["ant", "bee"]))
    task = load(tmp_path / "d.npz", tmp_path)
    assert (task.labels, task.counts) == (("ant", "bee"), {"train": 10, "val": 2, "test": 12})


@pytest.mark.parametrize(
    ("arrays", "text"),
    [
        ({"image": pixels(6, 8, 8), "labels": np.arange(6) % 2}, "no array 'images'; rename 'image'"),
        ({"x_train": pixels(6, 8, 8)}, "no array 'y_train'"),
        ({"images": pixels(6, 8, 8), "labels": np.arange(6) / 2}, "labels are integers"),
        ({"images": pixels(6, 8, 8), "labels": np.arange(5)}, "6 pictures in 'images' but 5 labels"),
        ({"images": np.full((6, 8, 8), np.nan), "labels": np.arange(6) % 2}, "NaN or infinity"),
        ({"images": pixels(6, 8, 8) * 1.0, "labels": np.arange(6) % 2}, "scale it to 0..1"),
        ({"images": pixels(6, 8, 8, 2), "labels": np.arange(6) % 2}, "1 or 3 channels"),
        ({"images": np.array([None] * 6), "labels": np.arange(6)}, "cannot be read as arrays"),
    ],
)
def test_npz_that_cannot_be_used(tmp_path: Path, arrays: dict[str, np.ndarray], text: str) -> None:
    np.savez(tmp_path / "d.npz", **arrays)
    with pytest.raises(DataError, match=text):
        load(tmp_path / "d.npz", tmp_path)


def dataset(count: int = 10, start: int = 0) -> Any:
    from datasets import ClassLabel, Dataset, Features
    from datasets import Image as ImageFeature

    rows = {"img": [picture(start + n) for n in range(count)], "label": [n % 2 for n in range(count)]}
    return Dataset.from_dict(rows, Features({"img": ImageFeature(), "label": ClassLabel(names=["ant", "bee"])}))


def test_a_saved_data_set(tmp_path: Path) -> None:
    from datasets import DatasetDict

    dataset().save_to_disk(tmp_path / "one")
    task = load(tmp_path / "one", tmp_path)
    assert (task.labels, sum(task.counts.values())) == (("ant", "bee"), 10)
    DatasetDict(train=dataset(20), test=dataset(6, 500)).save_to_disk(tmp_path / "two")
    assert load(tmp_path / "two", tmp_path).counts == {"train": 16, "val": 4, "test": 6}


def test_parquet_files_carry_their_class_names(tmp_path: Path) -> None:
    (tmp_path / "set" / "data").mkdir(parents=True)
    dataset(20).to_parquet(tmp_path / "set" / "data" / "train-00000-of-00001.parquet")
    dataset(6, 500).to_parquet(tmp_path / "set" / "data" / "test-00000-of-00001.parquet")
    task = load(tmp_path / "set", tmp_path)
    assert (task.labels, task.counts) == (("ant", "bee"), {"train": 16, "val": 4, "test": 6})
    rows = dataset().rename_column("label", "kind")
    rows.to_parquet(tmp_path / "other.parquet")
    (tmp_path / "other").mkdir()
    (tmp_path / "other.parquet").rename(tmp_path / "other" / "train.parquet")
    with pytest.raises(DataError, match="no column 'label'"):
        load(tmp_path / "other", tmp_path)


def test_an_id_that_cannot_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match="neither a folder or file here nor"):
        load("nobody/no-such-data-here", tmp_path)


CODE = """
import numpy as np
from evaluators.tasks.images import ArrayImages
from evaluators.tasks.prepare import Samples, create_task
def mine(cache, seed, image_size):
    pictures = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 1), np.uint8)
    samples = Samples(ArrayImages(pictures), np.arange(12) % 2, ("ant", "bee"))
    return create_task(samples, cache=cache, seed=seed, image_size=image_size)
def skipping(cache, seed, image_size, on_bad):
    assert on_bad == "skip"
    return mine(cache, seed, image_size)
def wrong(**facts):
    return None
def broken(**facts):
    raise KeyError("gone")
"""


def test_code_of_the_user(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(CODE)
    assert load(f"{tmp_path}/mine.py:mine", tmp_path, image_size=8).image_size == 8
    for name, text in (
        ("wrong", "must return a task"),
        ("broken", "KeyError"),
        ("min", "did you mean 'mine'"),
    ):
        with pytest.raises(DataError, match=text):
            load(f"{tmp_path}/mine.py:{name}", tmp_path)


def test_options_reach_code_of_the_user(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(CODE)
    plain, varied = (load(f"{tmp_path}/mine.py:mine", tmp_path, augment=name) for name in (None, "standard"))
    assert ImageTask.open(varied.folder).augment == POLICIES["standard"] != plain.augment
    assert varied.fingerprint != plain.fingerprint
    np.testing.assert_array_equal(varied.pixels("val", 8), plain.pixels("val", 8))
    assert load(f"{tmp_path}/mine.py:mine", tmp_path, augment="standard") == varied
    assert load(f"{tmp_path}/mine.py:mine", tmp_path) == load(f"{tmp_path}/mine.py:mine", tmp_path, augment="none")
    assert load(f"{tmp_path}/mine.py:skipping", tmp_path, on_bad="skip") == plain
    with pytest.raises(DataError, match="--skip-bad does not reach"):
        load(f"{tmp_path}/mine.py:mine", tmp_path, on_bad="skip")


def test_code_of_the_user_imports_its_neighbours_and_keeps_its_dataclasses(tmp_path: Path) -> None:
    (tmp_path / "lying_beside.py").write_text("COUNT = 12\n")
    (tmp_path / "called_later.py").write_text("LABELS = ('ant', 'bee')\n")
    near = CODE.replace("(12, ", "(Sizes().count, ").replace('("ant", "bee")', "LABELS")
    near = near.replace("    samples", "    from called_later import LABELS\n    samples")
    (tmp_path / "near.py").write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\nfrom lying_beside import COUNT\n"
        f"@dataclass\nclass Sizes:\n    count: int = COUNT\n{near}"
    )
    before = list(sys.path)
    assert load(f"{tmp_path}/near.py:mine", tmp_path).labels == ("ant", "bee")
    assert sys.path == before


def test_default_size() -> None:
    assert [default_size([side]) for side in (3, 28, 32, 100, 1000)] == [8, 32, 32, 96, 224]


@pytest.mark.skipif(not (DATA / "photos10").is_dir(), reason="needs the shared photographs")
def test_three_thousand_photographs(tmp_path: Path) -> None:
    task = load(DATA / "photos10", tmp_path)
    assert (task.classes, task.image_size, task.channels) == (10, 32, 3)
    assert task.counts == {"train": 2100, "val": 450, "test": 450}
    assert json.loads((task.folder / "task.json").read_text())["notes"] == []
