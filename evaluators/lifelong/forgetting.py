"""How a student learns without forgetting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from evaluators.distill.distiller import Distiller, Loss
from evaluators.distill.signals import Signals
from understudy import ConfigError, TrainError


@dataclass(frozen=True)
class WithoutForgetting(Distiller):
    """The labels, while the answers about the ``known`` classes stay those of the former student.

    On every picture the softened answers about the known classes are held to the former student's (Learning
    without Forgetting; Li and Hoiem, 2017): ``weight * T^2 * KL``. On pictures of known classes, which are the
    replayed ones and whatever the later data have of them, their logits are held too (Dark Experience Replay++;
    Buzzega et al., 2020): ``replay * mean squared difference``. Where the former student is wrong about such a
    picture, only its label counts.

    ``teacher.logits`` are (B, known or more); columns from ``known`` on are not read. Raises ``ConfigError``
    for settings outside their range.
    """

    name: ClassVar[str] = "without-forgetting"
    known: int
    temperature: float = 2.0
    weight: float = 0.1
    replay: float = 0.1

    def __post_init__(self) -> None:
        if self.known < 1 or not self.temperature > 0 or min(self.weight, self.replay) < 0:
            raise ConfigError(
                "learning without forgetting needs a known class or more, a temperature above 0 and weights of "
                f"0 or more, but got {self}"
            )

    def loss(self, student: Signals, teacher: Signals, targets: Tensor | None) -> Loss:
        """See ``Distiller.loss``; raises ``TrainError`` for data without labels."""
        if targets is None:
            raise TrainError("the new data have no labels, and new classes cannot be learnt without: label them")
        ours, former = student.logits[:, : self.known], teacher.logits[:, : self.known]
        known = targets < self.known
        trusted = (~known | (former.argmax(1) == targets)).to(ours.dtype)
        soft, wanted = (functional.log_softmax(each / self.temperature, dim=1) for each in (ours, former))
        divergence = functional.kl_div(soft, wanted, reduction="none", log_target=True).sum(1)
        kept = self.temperature**2 * (divergence * trusted).mean()
        replayed = (functional.mse_loss(ours, former, reduction="none").mean(1) * trusted * known).mean()
        distillation = self.weight * kept + self.replay * replayed
        task = functional.cross_entropy(student.logits, targets)
        return Loss(task + distillation, task, distillation)


def widened(logits: Tensor, classes: int) -> Tensor:
    """Logits (B, known) with a column for each later class that never wins: (B, classes)."""
    least = logits.min(1, keepdim=True).values
    return torch.cat([logits, least.expand(-1, classes - logits.shape[1])], dim=1)
