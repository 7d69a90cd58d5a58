"""What a trained network answers, and how good its answers are."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from spaces.batch import moved, parts

if TYPE_CHECKING:
    from evaluators.tasks.task import Split, Task

Guard = Callable[[], AbstractContextManager[object]]


def predict_logits(
    network: nn.Module,
    task: Task,
    split: Split,
    resolution: int,
    *,
    device: str = "cpu",
    guard: Guard = nullcontext,
) -> Tensor:
    """The network's logits of every clean image of a split, on the CPU, as the task keeps them: (N, classes).

    The network is left in the mode (training or not) in which it came; ``guard`` is entered around each batch.
    """
    training = network.training
    network.eval()
    answers = []
    with torch.inference_mode():
        for ids in batches(np.arange(len(task.targets(split))), task.answered_at_once):
            with guard():
                samples = moved(task.batch(split, ids, resolution), device)
                answers.append(task.kept(network(*parts(samples)).float(), split, ids).cpu())
    network.train(training)
    return torch.cat(answers).clone()


def accuracy(logits: Tensor, targets: np.ndarray | Tensor) -> float:
    """Share of samples whose largest logit is at the target."""
    return float((logits.argmax(1) == torch.as_tensor(targets)).double().mean())


def agreement(logits: Tensor, others: np.ndarray | Tensor) -> float:
    """Share of samples on which two networks' logits, both (N, classes), have the same largest entry."""
    return accuracy(logits, torch.as_tensor(others).argmax(1))


def batches(ids: np.ndarray, size: int) -> list[np.ndarray]:
    """The ids in as few near-equal parts of about ``size`` as hold them all, in order.

    Near-equal, so that no batch is so small that its statistics mislead batch normalisation.
    """
    return np.array_split(ids, max(1, round(len(ids) / size)))
