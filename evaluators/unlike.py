"""The samples on which a student goes its own way, and what it and its teacher say of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from evaluators.tasks.task import Task

Said = tuple[str, float]
"""A class and its probability."""


@dataclass(frozen=True)
class Unlike:
    """A test sample by number, what is right (``label``), and what the networks say; ``teacher`` None: nobody
    teaches."""

    index: int
    label: str
    student: Said
    teacher: Said | None


def most_unlike(task: Task, logits: Tensor, teacher: NDArray[np.float32] | None, count: int) -> list[Unlike]:
    """The test samples on which student and teacher (without one: student and label) agree least, those first.

    ``logits`` and ``teacher`` are of the test split, (N, classes). Agreement is one less the total variation
    distance of the probabilities. A label that is none of the classes is a question mark.
    """
    targets = torch.from_numpy(np.array(task.targets("test")))
    ours = logits.float().softmax(1)
    theirs = None if teacher is None else torch.from_numpy(np.array(teacher)).softmax(1)
    known = functional.one_hot(targets.clamp(min=0), task.classes).float() * (targets >= 0)[:, None]
    order = (ours - (known if theirs is None else theirs)).abs().sum(1).argsort(descending=True, stable=True)
    return [
        Unlike(
            index,
            task.labels[int(targets[index])] if targets[index] >= 0 else "?",
            _said(ours[index], task.labels),
            None if theirs is None else _said(theirs[index], task.labels),
        )
        for index in order[:count].tolist()
    ]


def _said(shares: Tensor, labels: Sequence[str]) -> Said:
    best = int(shares.argmax())
    return labels[best], float(shares[best])
