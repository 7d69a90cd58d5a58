"""The texts on which a student says something else than its teacher, for people to read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from evaluators.tasks.text_task import TextTask
from evaluators.unlike import most_unlike
from results.store import write_atomically

FILE = "texts.json"
_COUNT, _LONGEST = 12, 400


def write_text_examples(task: TextTask, logits: Tensor, teacher: NDArray[np.float32] | None, path: Path) -> None:
    """Write the test texts on which student and teacher (without one: student and label) agree least, as JSON.

    Of each: ``text``, at most 400 characters; ``label``; ``student`` and ``teacher``, each a class and its
    probability. ``logits`` and ``teacher`` are of the test split, (N, classes); see ``most_unlike``.
    """
    texts = task.texts("test")
    rows = [
        {
            "text": shortened(texts[each.index]),
            "label": each.label,
            "student": each.student,
            "teacher": each.teacher,
        }
        for each in most_unlike(task, logits, teacher, _COUNT)
    ]
    write_atomically(path, json.dumps(rows, ensure_ascii=False, indent=1).encode())


def shortened(text: str) -> str:
    """A text, at most 400 characters of it."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."
