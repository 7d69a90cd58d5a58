"""Soft targets whose scale is the student's own affair."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from evaluators.distill.distiller import Distiller, Loss
from evaluators.distill.methods.outputs import (
    check_temperature,
    check_weights,
    softened_divergence,
    standardised,
    task_loss,
)
from evaluators.distill.signals import Signals


@dataclass(frozen=True)
class StandardisedTargets(Distiller):
    """Soft targets of standardised logits (Sun et al., 2024).

    Each sample's logits are brought to mean 0 and standard deviation 1 before they are softened, so that the
    student need not match the teacher's scale. The loss is ``weight * T^2 * KL + label_weight * cross entropy``
    at ``temperature`` T, with the paper's weights; without labels the first term alone.

    Raises ``ConfigError`` for a temperature of 0 or below, or a negative weight.
    """

    name: ClassVar[str] = "standardised-targets"
    maps: ClassVar[bool] = True
    temperature: float = 2.0
    weight: float = 9.0
    label_weight: float = 0.1

    def __post_init__(self) -> None:
        check_temperature(self.temperature)
        check_weights(weight=self.weight, label_weight=self.label_weight)

    def loss(self, student: Signals, teacher: Signals, targets: Tensor | None) -> Loss:
        """See ``Distiller.loss``; accepts data without labels."""
        ours, theirs = standardised(student.logits), standardised(teacher.logits)
        distillation = softened_divergence(ours, theirs, self.temperature)
        task = task_loss(student, targets)
        return Loss(self.weight * distillation + self.label_weight * task, task, distillation)
