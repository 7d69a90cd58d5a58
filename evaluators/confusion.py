"""Which classes a student takes for which others, for people to see."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from torch import Tensor

from evaluators.tasks.task import Task
from results.store import write_atomically

FILE = "confusion.json"
_MOST = 20
"""Classes that are written: those with the most mistakes, where there are more."""


def write_confusion(task: Task, logits: Tensor, path: Path) -> None:
    """Write how often test samples of each class were given each class, as JSON.

    ``labels`` are class names, ``counts`` a row a true class and a column an answer, ``classes`` how many the task
    has. ``logits`` are of the test split, (N, classes); samples of none of the classes are left out.
    """
    counts = np.zeros((task.classes, task.classes), np.int64)
    targets = np.array(task.targets("test"))
    known = targets >= 0
    np.add.at(counts, (targets[known], logits.argmax(1).numpy()[known]), 1)
    wrong = counts.sum(0) + counts.sum(1) - 2 * counts.diagonal()
    kept = np.sort(np.argsort(-wrong, kind="stable")[:_MOST])
    told = {
        "labels": [task.labels[index] for index in kept],
        "counts": counts[np.ix_(kept, kept)].tolist(),
        "classes": task.classes,
    }
    write_atomically(path, json.dumps(told, ensure_ascii=False).encode())
