"""Texts as users have them, and every way in which they can be wrong."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluators.tasks.load import load_task
from evaluators.tasks.opening import open_task
from evaluators.tasks.text_task import TextTask
from evaluators.tasks.vector_task import VectorTask
from results.bundle.wordpiece import WordPiece
from understudy import DataError, TeacherError

GOOD, BAD = "a great warm film number", "a dull cold movie number"


def rows(count: int = 10, tab: str = "\t") -> list[str]:
    return [f"{(GOOD, BAD)[number % 2]} {number}{tab}{('good', 'bad')[number % 2]}" for number in range(2 * count)]


def write(path: Path, lines: list[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def load(spec: Path | str, tmp_path: Path, **how: Any) -> TextTask:
    task = load_task(str(spec), cache=tmp_path / "cache", seed=0, **how)
    assert isinstance(task, TextTask)
    return task


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("a.tsv", rows()),
        ("a.tsv", ["sentence\tlabel", *rows()]),
        ("a.tsv", [f"{line.split(chr(9))[1]}\t{line.split(chr(9))[0]}" for line in rows()]),
        ("a.csv", ["id,Review,Sentiment", *(f'{n},"{line}"' for n, line in enumerate(rows(tab='","')))]),
        ("a.csv", ["label,whatever", *(",".join(reversed(line.split(","))) for line in rows(tab=","))]),
    ],
)
def test_tables_with_and_without_names(tmp_path: Path, name: str, lines: list[str]) -> None:
    task = load(write(tmp_path / name, lines), tmp_path)
    assert (task.labels, task.space, task.tokens) == (("bad", "good"), "text", True)
    assert task.counts == {"train": 14, "val": 4, "test": 2} or sum(task.counts.values()) == 20
    assert task.image_size % 8 == 0
    assert task.notes == ()


def test_folder_of_tables_keeps_its_splits(tmp_path: Path) -> None:
    for name, count in (("train", 8), ("dev", 3), ("test", 2)):
        write(tmp_path / "data" / f"{name}.tsv", [f"{name} {line}" for line in rows(count)])
    task = load(tmp_path / "data", tmp_path)
    assert task.counts == {"train": 16, "val": 6, "test": 4}
    assert "train" in task.tokenizer.pieces
    assert "dev" not in task.tokenizer.pieces, "the vocabulary must come from the training texts alone"


def test_a_folder_needs_a_train_table(tmp_path: Path) -> None:
    write(tmp_path / "data" / "dev.tsv", rows())
    with pytest.raises(DataError, match=r"holds dev.tsv but no train table"):
        load(tmp_path / "data", tmp_path)


def test_ids_are_those_of_the_tokenizer_at_every_length(tmp_path: Path) -> None:
    task = load(write(tmp_path / "a.tsv", [*rows(), f"{'great ' * 50}\tgood"]), tmp_path, image_size=24)
    ids = task.images("train", np.arange(task.size("train")), 24).numpy()
    assert ids.dtype == np.int64
    assert ids.max() < task.channels == len(task.tokenizer.pieces)
    text = [task.tokenizer.pieces[piece] for piece in ids[0] if piece]
    assert (text[0], text[-1]) == ("[CLS]", "[SEP]")
    short = task.batch("train", np.arange(task.size("train")), 8).numpy()
    assert short.shape[1] == 8
    end = task.tokenizer.encode("", 2)[1]
    assert ((short == end).sum(1) == 1).all(), "what is cut must end like a whole text"
    assert any("more than 24 tokens" in note for note in task.notes)


def test_a_prepared_task_opens_again_and_elsewhere(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", rows())
    first, second = load(path, tmp_path), load(path, tmp_path)
    assert first == second == open_task(first.folder) == pickle.loads(pickle.dumps(first))
    assert load_task(str(path), cache=tmp_path / "other", seed=0).fingerprint == first.fingerprint


def test_tables_of_numbers_are_still_vectors(tmp_path: Path) -> None:
    lines = ["label,text", *(f"{number % 2},{number / 7}" for number in range(30))]
    assert isinstance(load_task(str(write(tmp_path / "a.csv", lines)), cache=tmp_path, seed=0), VectorTask)


def test_hugging_face_texts(tmp_path: Path) -> None:
    import datasets

    names = datasets.ClassLabel(names=["bad", "good"])
    features = datasets.Features({"sentence": datasets.Value("string"), "label": names})
    texts, labels = zip(*(line.split("\t") for line in rows()), strict=True)
    given = {"sentence": list(texts), "label": [("bad", "good").index(label) for label in labels]}
    whole = datasets.Dataset.from_dict(given, features)
    hidden = datasets.Dataset.from_dict({"sentence": ["unknown"], "label": [-1]}, features)
    datasets.DatasetDict(train=whole, validation=whole, test=hidden).save_to_disk(str(tmp_path / "data"))
    task = load(tmp_path / "data", tmp_path)
    assert task.labels == ("bad", "good")
    assert task.size("val") == 20
    assert any("test split" in note and "no labels" in note for note in task.notes)
    assert any("also in an earlier split" in note for note in task.notes)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("a text\t", "line 3 of .* has no label"),
        ("  \tgood", "line 3 of .* has no text"),
        ("no tabs at all", "line 3 of .* has 1 values where 2"),
        ("brok\udce9n\tgood", "line 3 of .* is not UTF-8"),
    ],
)
def test_bad_rows_are_named_or_left_out(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "a.tsv"
    lines = [*rows()[:2], line, *rows()[2:]]
    path.write_bytes("\n".join(lines).encode(errors="surrogateescape"))
    with pytest.raises(DataError, match=said):
        load(path, tmp_path)
    task = load(path, tmp_path, on_bad="skip")
    assert sum(task.counts.values()) == 20
    assert any("line 3 of" in note for note in task.notes)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.tsv", "", "no rows"),
        ("a.tsv", "text\tlabel\n", "no texts with labels"),
        ("a.tsv", "id\tlabel\ttopic1\ttopic2\n1\ta\tb\tc\n", "no column 'text'"),
        ("a.tsv", "text\tscore\na b\t3\n", "no column 'label'"),
        ("a.tsv", "a\tb\tc\nd\te\tf\n", "names no column text or label"),
        ("a.tsv", "one text\ta\ntwo texts\ta\n" * 5, "fewer than two classes"),
        ("a.tsv", "one\ta\n" * 9 + "two\tb\n", "too few to split"),
        ("a.tsv", "text\tlabel\tsplit\na\tb\tholdout\n", "unknown split 'holdout'"),
    ],
)
def test_useless_tables_are_refused(tmp_path: Path, name: str, content: str, said: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=said):
        load(tmp_path / name, tmp_path)


def test_other_encodings_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("\n".join(rows()), encoding="utf-16")
    with pytest.raises(DataError, match="UTF-16"):
        load(tmp_path / "a.tsv", tmp_path)


def test_classes_that_a_split_lacks(tmp_path: Path) -> None:
    lines = ["text\tlabel\tsplit"]
    lines += (
        [f"{line}\ttrain" for line in rows()] + ["some words\tgood\tval"] + [f"{line} x\ttest" for line in rows(2)]
    )
    lines = [line.replace(" x\ttest", "\ttest") for line in lines]
    task = load(write(tmp_path / "a.tsv", lines), tmp_path)
    assert any("val split has no text of class bad" in note for note in task.notes)
    write(tmp_path / "b.tsv", [*lines, "other words\tstrange\ttest"])
    with pytest.raises(DataError, match=r"'strange' of .* no text in the training split"):
        load(tmp_path / "b.tsv", tmp_path)


def test_augmentation_and_short_lengths_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", rows())
    with pytest.raises(DataError, match="leave out --augment"):
        load(path, tmp_path, augment="shift")
    with pytest.raises(DataError, match="at least 8 tokens"):
        load(path, tmp_path, image_size=4)


def test_tokens_of_a_teacher(tmp_path: Path) -> None:
    from transformers import BertTokenizer

    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "great", "film", "##s"]
    teacher = BertTokenizer(vocab={piece: number for number, piece in enumerate(pieces)})
    teacher.save_pretrained(tmp_path / "teacher")
    task = load(write(tmp_path / "a.tsv", rows()), tmp_path, teacher=str(tmp_path / "teacher"))
    assert task.tokenizer.pieces == tuple(pieces)
    assert task.tokenizer.encode("Great films", 6) == teacher("Great films")["input_ids"] + [0]
    (tmp_path / "old").mkdir()
    write(tmp_path / "old" / "vocab.txt", pieces)
    assert load(tmp_path / "a.tsv", tmp_path, teacher=str(tmp_path / "old")).fingerprint == task.fingerprint


def test_other_tokenizers_are_refused(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models

    path = write(tmp_path / "a.tsv", rows())
    with pytest.raises(TeacherError, match="holds no tokenizer"):
        load(path, tmp_path, teacher=str(tmp_path))
    Tokenizer(models.BPE()).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(TeacherError, match="kind BPE"):
        load(path, tmp_path, teacher=str(tmp_path))


def test_the_vocabulary_does_not_depend_on_chance(tmp_path: Path) -> None:
    from evaluators.tasks.vocabulary import learn_vocabulary

    texts = [line.split("\t")[0] for line in rows(50)]
    assert learn_vocabulary(texts).pieces == learn_vocabulary(texts[::-1]).pieces
    assert isinstance(learn_vocabulary(texts), WordPiece)
