"""Plain text becomes windows of tokens, and what is kept of answers is enough to score and to teach."""

from __future__ import annotations

import pickle
from math import exp
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from evaluators.tasks.language_task import LanguageTask
from evaluators.tasks.load import load_task
from evaluators.tasks.opening import open_task
from understudy import DataError

TEXT = "".join(f"The {['cat', 'dog', 'cow'][n % 3]} sat on mat {n}; naïve café!\n" for n in range(400))


def loaded(path: Path, **given: object) -> LanguageTask:
    task = load_task(str(path), cache=path.parent / "cache", seed=0, **given)  # type: ignore[arg-type]
    assert isinstance(task, LanguageTask)
    return task


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> LanguageTask:
    path = tmp_path_factory.mktemp("prose") / "prose.txt"
    path.write_text(TEXT, encoding="utf-8")
    return loaded(path, image_size=32)


def test_windows_are_the_text_in_order(task: LanguageTask) -> None:
    said = [
        task.tokenizer.text(task.batch(split, np.arange(task.size(split)), 32).flatten().tolist())
        for split in ("train", "val", "test")
    ]
    assert TEXT.startswith(said[0])
    assert said[1] in TEXT
    assert TEXT.index(said[1]) > len(said[0]) * 0.95
    assert len(said[2]) == pytest.approx(len(TEXT) / 10, rel=0.2)
    ids, targets = task.batch("train", [1, 2], 32), task.taught(np.array([1, 2]), 0)
    assert torch.equal(ids.flatten()[1:], targets.flatten()[:-1])


def test_a_task_opens_again_and_travels(task: LanguageTask) -> None:
    again = open_task(task.folder)
    assert again == task
    assert pickle.loads(pickle.dumps(task)) == task
    assert (task.classes, task.answer_shape) == (task.channels, (32, task.channels))
    assert task.sizes["dense"]


def test_the_score_is_one_over_the_perplexity(task: LanguageTask) -> None:
    logits = torch.randn(3, 32, task.classes, generator=torch.Generator().manual_seed(0))
    kept = task.kept(logits, "val", np.arange(3))
    wanted = torch.from_numpy(task.targets("val")[:3]).long()
    loss = functional.cross_entropy(logits.flatten(0, 1), wanted.flatten())
    assert task.score(kept, task.targets("val")) == pytest.approx(exp(-loss), rel=1e-4)
    assert task.agreement(kept, kept) == 1
    assert task.agreement(kept, task.kept(-logits, "val", np.arange(3))) < 0.1


def test_what_is_kept_of_a_teacher_is_nearly_its_answer(task: LanguageTask) -> None:
    logits = 3 * torch.randn(2, 32, task.classes, generator=torch.Generator().manual_seed(0))
    kept = task.kept(logits, "train", np.arange(2))
    assert tuple(kept.shape[1:]) == task.kept_shape("train")
    again, shares = task.restored(kept), logits.log_softmax(-1)
    torch.testing.assert_close(again.exp().sum(-1), torch.ones(2, 32))
    best = shares.topk(8)
    torch.testing.assert_close(again.gather(-1, best.indices), best.values)


def test_what_is_not_kept_of_a_teacher_is_as_likely_as_it_is_frequent(task: LanguageTask) -> None:
    often = torch.from_numpy(np.bincount(task.targets("train").ravel(), minlength=task.channels) + 1)
    kept = task.kept((0.01 * torch.arange(task.channels)).expand(1, 32, -1), "train", np.arange(1))
    again = task.restored(kept)[0, 0].exp()
    others = torch.arange(task.channels - task.kept_shape("train")[1] // 2)
    assert len(others) > 0
    torch.testing.assert_close(again[others] / again[others].sum(), often[others] / often[others].sum())
    torch.testing.assert_close(again.sum(), torch.tensor(1.0))


def test_folders_are_parts_or_splits(tmp_path: Path) -> None:
    for name in ("parts", "splits"):
        (tmp_path / name).mkdir()
    (tmp_path / "parts" / "a.txt").write_text(TEXT[:8000], encoding="utf-8")
    (tmp_path / "parts" / "b.txt").write_bytes(b"\xef\xbb\xbf" + TEXT[8000:].replace("\n", "\r\n").encode())
    (tmp_path / "splits" / "train.txt").write_text(TEXT, encoding="utf-8")
    (tmp_path / "splits" / "valid.txt").write_text(TEXT[::-1], encoding="utf-8")
    parts, splits = loaded(tmp_path / "parts", image_size=32), loaded(tmp_path / "splits", image_size=32)
    first = parts.tokenizer.text(parts.batch("train", np.arange(parts.size("train")), 32).flatten().tolist())
    assert first.replace(TEXT[:8000] + "\n", TEXT[:8000]) == TEXT[: len(first) - 1]
    assert TEXT[::-1].startswith(splits.tokenizer.text(splits.batch("val", [0], 32)[0].tolist()))
    assert splits.size("val") > splits.size("test") > 0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b" \n ", "is empty"),
        (b"fine\ncaf\xe9 and more", "line 2: byte 8 is not UTF-8"),
        (b"Too short a text.", "too short: its train part has .* a window takes 17"),
    ],
)
def test_bad_texts_are_named(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "prose.txt").write_bytes(content)
    with pytest.raises(DataError, match=said):
        loaded(tmp_path / "prose.txt")


def test_bad_files_of_a_folder_are_left_out_if_asked(tmp_path: Path) -> None:
    folder = tmp_path / "prose"
    folder.mkdir()
    (folder / "a.txt").write_text(TEXT, encoding="utf-8")
    (folder / "b.txt").write_bytes(b"caf\xe9")
    with pytest.raises(DataError, match=r"b\.txt"):
        loaded(folder)
    assert "b.txt" in loaded(folder, on_bad="skip").notes[0]
    (folder / "train.txt").write_text(TEXT, encoding="utf-8")
    with pytest.raises(DataError, match="holds a train file"):
        loaded(folder, on_bad="skip")
    with pytest.raises(DataError, match="cannot be read"):
        loaded(tmp_path / "none.txt")
    with pytest.raises(DataError, match="no augmented views"):
        loaded(folder / "a.txt", augment="shift")
