"""Teachers of texts: trained here, or from a ``transformers`` folder that fits the data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertTokenizer, DistilBertConfig, DistilBertForSequenceClassification

from evaluators.tasks.load import load_task
from evaluators.tasks.text_task import TextTask
from evaluators.teachers import text as teachers
from evaluators.teachers.builtin import builtin_teacher
from evaluators.teachers.load import load_teacher
from understudy import TeacherError

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh", "good", "bad"]


def task_of(tmp_path: Path, teacher: Path | None = None) -> TextTask:
    lines = [
        f"{'abcdefgh'[number % 8]} {('bad', 'good')[number % 2]}\t{('bad', 'good')[number % 2]}"
        for number in range(60)
    ]
    (tmp_path / "data.tsv").write_text("\n".join(lines))
    spec, cache = str(tmp_path / "data.tsv"), tmp_path / "cache"
    task = load_task(spec, cache=cache, seed=0, teacher=None if teacher is None else str(teacher))
    assert isinstance(task, TextTask)
    return task


def save_teacher(folder: Path, labels: dict[int, str] | None = None, positions: int = 16) -> Path:
    torch.manual_seed(0)
    config = DistilBertConfig(
        vocab_size=len(PIECES), dim=16, n_layers=1, n_heads=2, hidden_dim=16, max_position_embeddings=positions
    )
    config.id2label = labels or {0: "good", 1: "bad"}
    DistilBertForSequenceClassification(config).save_pretrained(folder)
    BertTokenizer(vocab={piece: number for number, piece in enumerate(PIECES)}).save_pretrained(folder)
    return folder


def test_one_is_trained_here_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teachers, "LAYERS", 1)
    task = task_of(tmp_path)
    seen: list[int] = []
    one, two = (
        builtin_teacher(task, cache=tmp_path, seed=0, epochs=2, progress=lambda done, _: seen.append(done))
        for _ in range(2)
    )
    assert seen == [1, 2], "the second must come from the cache"
    ids = task.images("val", np.arange(4), task.image_size)
    assert one.fingerprint == two.fingerprint
    assert torch.equal(one.logits(ids), two.logits(ids))
    assert one.logits(ids).shape == (4, 2)


def test_a_folder_teaches_in_the_order_of_the_data(tmp_path: Path) -> None:
    folder = save_teacher(tmp_path / "teacher")
    task = task_of(tmp_path, folder)
    assert task.labels == ("bad", "good")
    teacher = load_teacher(str(folder), None, task)
    text = "a bad"
    network = DistilBertForSequenceClassification.from_pretrained(folder).eval()
    given = BertTokenizer.from_pretrained(folder)(text, return_tensors="pt")
    with torch.no_grad():
        expected = network(given["input_ids"], attention_mask=given["attention_mask"]).logits[:, [1, 0]]
    ids = torch.tensor([task.tokenizer.encode(text, task.image_size)])
    torch.testing.assert_close(teacher.logits(ids), expected)


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    fitting = save_teacher(tmp_path / "fitting")
    task = task_of(tmp_path, fitting)
    three = save_teacher(tmp_path / "three", {0: "a", 1: "b", 2: "c"})
    with pytest.raises(TeacherError, match="knows 3 classes, but the data have 2"):
        load_teacher(str(three), None, task)
    short = save_teacher(tmp_path / "short", positions=4)
    with pytest.raises(TeacherError, match="reads 4 tokens at most"):
        load_teacher(str(short), None, task)
    with pytest.raises(TeacherError, match="no teacher folder"):
        load_teacher("bert-base", None, task)
    with pytest.raises(TeacherError, match="is not the one that the texts were cut by"):
        load_teacher(str(fitting), None, task_of(tmp_path))
    (fitting / "model.safetensors").unlink()
    with pytest.raises(TeacherError, match="safetensors weights"):
        load_teacher(str(fitting), None, task)
    (tmp_path / "a.onnx").write_bytes(b"")
    with pytest.raises(TeacherError, match="cannot teach texts"):
        load_teacher(str(tmp_path / "a.onnx"), None, task)


def test_code_of_the_users_takes_token_ids(tmp_path: Path) -> None:
    task = task_of(tmp_path)
    (tmp_path / "own.py").write_text(
        "from torch import nn\n"
        f"def build():\n    return nn.Sequential(nn.EmbeddingBag({task.channels}, 8), nn.Linear(8, 2))\n"
    )
    teacher = load_teacher(f"{tmp_path}/own.py:build", None, task)
    assert teacher.logits(task.images("test", np.arange(3), task.image_size)).shape == (3, 2)
