"""The texts on which a student says something else than its teacher, for people to read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from evaluators.tasks.text_task import TextTask
from results.store import write_atomically

FILE = "texts.json"
_COUNT, _LONGEST = 12, 400


def write_text_examples(task: TextTask, logits: Tensor, teacher: NDArray[np.float32] | None, path: Path) -> None:
    """Write the test texts on which student and teacher (without one: student and label) agree least, as JSON.

    Of each: ``text``, at most 400 characters; ``label``; ``student`` and ``teacher``, each a class and its
    probability. ``logits`` and ``teacher`` are of the test split, (N, classes). Agreement is one less the total
    variation distance of the probabilities.
    """
    targets = torch.from_numpy(np.array(task.targets("test")))
    ours = logits.float().softmax(1)
    theirs = None if teacher is None else torch.from_numpy(np.array(teacher)).softmax(1)
    wanted = functional.one_hot(targets, task.classes).float() if theirs is None else theirs
    order = (ours - wanted).abs().sum(1).argsort(descending=True, stable=True)[:_COUNT].tolist()
    texts = task.texts("test")
    rows = [
        {
            "text": texts[index] if len(texts[index]) <= _LONGEST else f"{texts[index][:_LONGEST]} ...",
            "label": task.labels[int(targets[index])],
            "student": _said(ours[index], task),
            "teacher": None if theirs is None else _said(theirs[index], task),
        }
        for index in order
    ]
    write_atomically(path, json.dumps(rows, ensure_ascii=False, indent=1).encode())


def _said(shares: Tensor, task: TextTask) -> tuple[str, float]:
    """The likeliest class and its probability."""
    best = int(shares.argmax())
    return task.labels[best], float(shares[best])
