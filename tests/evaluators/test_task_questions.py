"""Questions about pictures, from a user's folder to a prepared task."""

from __future__ import annotations

import csv
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evaluators.tasks.load import load_task
from evaluators.tasks.opening import open_task
from evaluators.tasks.question_task import QuestionTask
from evaluators.tasks.task import SPLITS
from results.bundle.runner import normalise, stretch
from tests.question_pictures import draw_questions
from understudy import DataError

Row = list[str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_questions(tmp_path_factory.mktemp("data") / "shapes", 40, side=32)


@pytest.fixture(scope="module")
def task(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> QuestionTask:
    return loaded(folder, tmp_path_factory.mktemp("cache"))


def loaded(folder: Path, cache: Path, **options: object) -> QuestionTask:
    task = load_task(str(folder), cache=cache, seed=0, **options)  # type: ignore[arg-type]
    assert isinstance(task, QuestionTask)
    return task


def rows_of(folder: Path) -> list[Row]:
    with (folder / "questions.csv").open(newline="") as stream:
        return list(csv.reader(stream))


def altered(folder: Path, change: Callable[[list[Row]], list[Row]], to: Path) -> Path:
    """A folder with the same pictures and other rows."""
    to.mkdir(parents=True)
    (to / "images").symlink_to(folder / "images")
    with (to / "questions.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(change(rows_of(folder)))
    return to


def test_samples_are_the_rows(folder: Path, task: QuestionTask) -> None:
    rows = [row for row in rows_of(folder)[1:] if row[3] == "test"]
    pixels, ids = task.batch("test", np.arange(len(rows)), 24)
    spec = task.preprocess(24)
    for row, picture, tokens, target in zip(rows, pixels, ids, task.targets("test"), strict=True):
        assert tokens.tolist() == task.questions.tokenizer.encode(row[1], spec["length"])
        decoded = np.asarray(Image.open(folder / row[0]))
        expected = normalise(stretch(decoded, 24), spec["mean"], spec["std"])[0]
        np.testing.assert_allclose(picture.numpy(), expected, atol=1e-5)
        assert target == (task.labels.index(row[2]) if row[2] in task.labels else -1)


def test_no_picture_is_in_two_splits(folder: Path, tmp_path: Path) -> None:
    undivided = altered(folder, lambda rows: [row[:3] for row in rows], tmp_path / "undivided")
    task = loaded(undivided, tmp_path / "cache")
    assert all(task.size(split) for split in SPLITS)
    order = np.load(task.pictures.folder / "order.npy")
    assert len(set(order.tolist())) == sum(task.pictures.counts.values())


def test_it_opens_elsewhere_and_views_move_pictures_alone(task: QuestionTask) -> None:
    again = open_task(task.folder)
    assert pickle.loads(pickle.dumps(task)) == again == task
    clean, moved = (task.images("train", [0, 1], 32, view) for view in (0, 1))
    assert not np.allclose(clean[0], moved[0])
    assert np.array_equal(clean[1], moved[1])


@pytest.mark.parametrize("suffix", ["tsv", "json", "jsonl"])
def test_other_tables_are_the_same_task(folder: Path, task: QuestionTask, tmp_path: Path, suffix: str) -> None:
    (tmp_path / "images").symlink_to(folder / "images")
    head, *rows = rows_of(folder)
    objects = [dict(zip(head, row, strict=True)) for row in rows]
    text = {
        "tsv": "".join("\t".join(row) + "\n" for row in (head, *rows)),
        "json": json.dumps(objects),
        "jsonl": "".join(f"{json.dumps(each)}\n\n" for each in objects),
    }[suffix]
    (tmp_path / f"questions.{suffix}").write_text(text)
    assert loaded(tmp_path, tmp_path / "cache").fingerprint == task.fingerprint


def test_vqa_pairs_are_read(folder: Path, tmp_path: Path) -> None:
    rows = rows_of(folder)[1:]
    for split, subtype in (("train", "train2014"), ("val", "val2014")):
        (tmp_path / subtype).mkdir()
        questions, answers = [], []
        for number, (image, question, answer, given) in enumerate(rows):
            if (given == "val") != (split == "val"):
                continue
            place = int(Path(image).stem)
            name = tmp_path / subtype / f"COCO_{subtype}_{place:012d}.jpg"
            if not name.exists():
                Image.open(folder / image).save(name)
            questions.append({"image_id": place, "question": question, "question_id": number})
            answers.append({"question_id": number, "multiple_choice_answer": answer})
        held = {"data_subtype": subtype, "questions": questions}
        (tmp_path / f"v2_OpenEnded_mscoco_{subtype}_questions.json").write_text(json.dumps(held))
        told = {"data_subtype": subtype, "annotations": answers}
        (tmp_path / f"v2_mscoco_{subtype}_annotations.json").write_text(json.dumps(told))
    task = loaded(tmp_path, tmp_path / "cache")
    assert task.size("val") == sum(row[3] == "val" for row in rows)


def test_answers_beyond_those_learnt_are_told(folder: Path, tmp_path: Path) -> None:
    def change(rows: list[Row]) -> list[Row]:
        first = {split: next(n for n, row in enumerate(rows) if row[3] == split) for split in ("train", "test")}
        rows[first["train"]][2], rows[first["test"]][2] = "Mauve", "Puce"
        return rows

    task = loaded(altered(folder, change, tmp_path / "rare"), tmp_path / "cache")
    notes = "\n".join(task.notes)
    assert "1 of" in notes
    assert "seen once only" in notes
    assert "mauve" in notes
    assert "count as wrong, whose answers are not learnt: puce" in notes
    assert (task.targets("test") == -1).sum() == 1
    assert task.score(np.eye(len(task.labels), dtype=np.float32)[task.targets("test")], task.targets("test")) < 1


def bad_row(column: int, value: str) -> Callable[[list[Row]], list[Row]]:
    def change(rows: list[Row]) -> list[Row]:
        rows[5][column] = value
        return rows

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (bad_row(0, "images/none.png"), "line 6 .* names the image images/none.png, which is not there"),
        (bad_row(0, "../shapes/images/0001.png"), "which is not there"),
        (bad_row(1, "  "), "line 6 .* has no question"),
        (bad_row(2, ""), "line 6 .* has no answer"),
    ],
)
def test_bad_rows_are_named_or_left_out(
    folder: Path, tmp_path: Path, change: Callable[[list[Row]], list[Row]], said: str
) -> None:
    bad = altered(folder, change, tmp_path / "bad")
    with pytest.raises(DataError, match=f"{said}.*--skip-bad"):
        loaded(bad, tmp_path / "cache")
    assert "1 questions were left out" in loaded(bad, tmp_path / "cache", on_bad="skip").notes[0]


def test_broken_images_are_named_or_left_out(folder: Path, tmp_path: Path) -> None:
    def change(rows: list[Row]) -> list[Row]:
        return [[*rows[0]], *([f"images/{Path(row[0]).name}", *row[1:]] for row in rows[1:])]

    bad = altered(folder, change, tmp_path / "bad")
    (bad / "images").unlink()
    (bad / "images").mkdir()
    for path in (folder / "images").iterdir():
        (bad / "images" / path.name).symlink_to(path)
    (bad / "images" / "0003.png").unlink()
    (bad / "images" / "0003.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"0003.png cannot be read as an image"):
        loaded(bad, tmp_path / "cache")
    notes = loaded(bad, tmp_path / "cache", on_bad="skip").notes
    assert "1 unreadable images were left out" in notes[0]
    assert notes[1] == "5 questions about these were left out, too"


def test_what_cannot_be_used_is_refused(folder: Path, tmp_path: Path) -> None:
    split = altered(folder, bad_row(3, "val"), tmp_path / "split")
    with pytest.raises(DataError, match="keep all questions about a picture in one"):
        loaded(split, tmp_path / "cache")
    one = altered(
        folder, lambda rows: [rows[0], *([*row[:2], "yes", row[3]] for row in rows[1:])], tmp_path / "one"
    )
    with pytest.raises(DataError, match="fewer than two answers"):
        loaded(one, tmp_path / "cache")
    with pytest.raises(DataError, match="mirrors pictures"):
        loaded(folder, tmp_path / "cache", augment="standard")
    (tmp_path / "columns").mkdir()
    (tmp_path / "columns" / "questions.csv").write_text("image,question\na.png,what?\n")
    with pytest.raises(DataError, match="has no column 'answer'"):
        loaded(tmp_path / "columns", tmp_path / "cache")
    for name, text, said in (
        ("questions.json", '{"image": 1}', "must hold a list"),
        ("questions.jsonl", "{}\n{\n", "line 2 of .* is no JSON"),
        ("questions.jsonl", "3\n", "line 1 of .* is no object"),
    ):
        other = tmp_path / said.partition(" ")[0] / name
        other.parent.mkdir(exist_ok=True)
        other.write_text(text)
        with pytest.raises(DataError, match=said):
            loaded(other.parent, tmp_path / "cache")


def test_a_long_question_is_cut_and_told(folder: Path, tmp_path: Path) -> None:
    long = altered(folder, bad_row(1, "is it " * 100), tmp_path / "long")
    task = loaded(long, tmp_path / "cache")
    assert task.questions.image_size == 128
    assert "1 questions have more than 128 tokens: their ends are not read" in task.notes
