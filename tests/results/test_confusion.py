"""What is taken for what: counted where a student is judged, shown in the report."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import torch
from made_up_run import make_run

from evaluators.confusion import FILE, write_confusion
from results.report.confusion import confusion_hint, confusion_of
from results.report.page import report_html
from results.report.sections import best_student
from results.view import read_view


def task(classes: int, targets: list[int]) -> SimpleNamespace:
    labels = tuple(f"class {number}" for number in range(classes))
    return SimpleNamespace(labels=labels, classes=classes, targets=lambda split: np.array(targets))


def test_a_row_is_a_class_and_a_column_an_answer(tmp_path):
    logits = torch.tensor([[2.0, 1.0, 0.0], [0.0, 3.0, 0.0], [5.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    write_confusion(task(3, [0, 0, 2, 2]), logits, tmp_path / FILE)
    told = json.loads((tmp_path / FILE).read_text())
    assert told == {
        "labels": ["class 0", "class 1", "class 2"],
        "counts": [[1, 1, 0], [0, 0, 0], [1, 0, 1]],
        "classes": 3,
    }


def test_of_many_classes_those_with_mistakes_are_kept(tmp_path):
    logits = torch.eye(50)
    logits[[40, 47]] = logits[[47, 40]]
    write_confusion(task(50, list(range(50))), logits, tmp_path / FILE)
    told = json.loads((tmp_path / FILE).read_text())
    assert told["classes"] == 50
    assert len(told["labels"]) == 20
    assert {"class 40", "class 47"} <= set(told["labels"])


def test_the_report_shows_that_of_the_best_student(tmp_path):
    store = make_run(tmp_path / "run", 12)
    students = store.students()
    best = best_student(read_view(store))
    assert best is not None
    assert confusion_of(read_view(store), store.path) is None
    folder = f"students/{best.number}"
    (store.path / folder).mkdir(parents=True, exist_ok=True)
    write_confusion(task(2, [0, 1]), torch.eye(2), store.path / folder / FILE)
    best.files["confusion"] = f"{folder}/{FILE}"
    store.write_students([best if each.number == best.number else each for each in students])
    view = read_view(store)
    found = confusion_of(view, store.path)
    assert found is not None
    assert found.shares == [[1.0, 0.0], [0.0, 1.0]]
    assert "What is taken for what" in report_html(view, store.path)
    assert "with the most mistakes" not in confusion_hint(found)
