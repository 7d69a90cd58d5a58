"""Teaching by the outputs alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn import functional

from evaluators.distill.distiller import Distiller, Loss
from evaluators.distill.signals import Signals
from understudy import ConfigError, TrainError


@dataclass(frozen=True)
class SoftTargets(Distiller):
    """Softened outputs of the teacher mixed with the labels (Hinton, Vinyals and Dean, 2015).

    The loss is ``weight * T^2 * KL(teacher_T || student_T) + (1 - weight) * cross entropy``, where ``_T`` are
    the outputs at ``temperature`` T. Without labels only the first term is left, whatever the weight.

    Raises ``ConfigError`` unless ``temperature`` > 0 and ``weight`` is in 0..1.
    """

    name: ClassVar[str] = "soft-targets"
    temperature: float = 4.0
    weight: float = 0.9

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ConfigError(f"the temperature must be above 0, but got {self.temperature}")
        if not 0 <= self.weight <= 1:
            raise ConfigError(f"the weight of the teacher must be in 0..1, but got {self.weight}")

    def loss(self, student: Signals, teacher: Signals, targets: Tensor | None) -> Loss:
        """See ``Distiller.loss``; accepts data without labels."""
        soft = functional.log_softmax(student.logits / self.temperature, dim=1)
        wanted = functional.log_softmax(teacher.logits / self.temperature, dim=1)
        divergence = functional.kl_div(soft, wanted, reduction="batchmean", log_target=True)
        distillation = divergence * self.temperature**2
        if targets is None:
            return Loss(distillation, distillation.new_zeros(()), distillation)
        task = functional.cross_entropy(student.logits, targets)
        return Loss(self.weight * distillation + (1 - self.weight) * task, task, distillation)


@dataclass(frozen=True)
class HardLabels(Distiller):
    """The labels alone: a network trained from scratch, with no teacher."""

    name: ClassVar[str] = "hard-labels"
    uses_teacher: ClassVar[bool] = False

    def loss(self, student: Signals, teacher: Signals, targets: Tensor | None) -> Loss:
        """See ``Distiller.loss``; raises ``TrainError`` for data without labels."""
        if targets is None:
            raise TrainError(
                "the data has no labels and hard-labels learns from nothing else: use --distill soft-targets"
            )
        task = functional.cross_entropy(student.logits, targets)
        return Loss(task, task, task.new_zeros(()))
