"""Teaching the relations between the outputs instead of their values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn import functional

from evaluators.distill.distiller import Distiller, Loss
from evaluators.distill.methods.outputs import check_temperature, check_weights, task_loss
from evaluators.distill.signals import Signals


@dataclass(frozen=True)
class Dist(Distiller):
    """DIST: correlation with a stronger teacher in place of divergence from it (Huang et al., 2022).

    The loss is ``cross entropy + T^2 * (beta * inter + gamma * intra)`` of the probabilities at ``temperature``
    T: ``inter`` is one minus Pearson's correlation of student and teacher over the classes of a sample, ``intra``
    the same over the samples of a class, each the mean. What grows evenly in the teacher's outputs costs a small
    student nothing. The defaults are the paper's for CIFAR (for ImageNet: a temperature of 1).

    Raises ``ConfigError`` for a temperature of 0 or below, or a negative weight.
    """

    name: ClassVar[str] = "dist"
    maps: ClassVar[bool] = True
    beta: float = 2.0
    gamma: float = 2.0
    temperature: float = 4.0

    def __post_init__(self) -> None:
        check_temperature(self.temperature)
        check_weights(beta=self.beta, gamma=self.gamma)

    def loss(self, student: Signals, teacher: Signals, targets: Tensor | None) -> Loss:
        """See ``Distiller.loss``; accepts data without labels."""
        ours, theirs = ((signals.logits / self.temperature).softmax(1) for signals in (student, teacher))
        inter, intra = _uncorrelated(ours, theirs), _uncorrelated(ours.T, theirs.T)
        distillation = self.temperature**2 * (self.beta * inter + self.gamma * intra)
        task = task_loss(student, targets)
        return Loss(task + distillation, task, distillation)


def _uncorrelated(ours: Tensor, theirs: Tensor) -> Tensor:
    """One minus Pearson's correlation along the rows, their mean; a row without variation counts as 1."""
    centred, other = (rows - rows.mean(1, keepdim=True) for rows in (ours, theirs))
    return 1 - functional.cosine_similarity(centred, other, dim=1).mean()
