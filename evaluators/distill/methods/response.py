"""Teaching by the outputs alone: softened, as labels, or not at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn import functional

from evaluators.distill.distiller import Distiller, Loss
from evaluators.distill.methods.outputs import check_share, check_temperature, softened_divergence, task_loss
from evaluators.distill.signals import Signals
from understudy import TrainError


@dataclass(frozen=True)
class SoftTargets(Distiller):
    """Softened outputs of the teacher mixed with the labels (Hinton, Vinyals and Dean, 2015).

    The loss is ``weight * T^2 * KL(teacher_T || student_T) + (1 - weight) * cross entropy``, where ``_T`` are
    the outputs at ``temperature`` T. Without labels only the first term is left, whatever the weight.

    Raises ``ConfigError`` unless ``temperature`` > 0 and ``weight`` is in 0..1.
    """

    name: ClassVar[str] = "soft-targets"
    maps: ClassVar[bool] = True
    temperature: float = 4.0
    weight: float = 0.9

    def __post_init__(self) -> None:
        check_temperature(self.temperature)
        check_share("weight", self.weight)

    def loss(self, student: Signals, teacher: Signals, targets: Tensor | None) -> Loss:
        """See ``Distiller.loss``; accepts data without labels."""
        distillation = softened_divergence(student.logits, teacher.logits, self.temperature)
        if targets is None:
            return Loss(distillation, distillation.new_zeros(()), distillation)
        task = task_loss(student, targets)
        return Loss(self.weight * distillation + (1 - self.weight) * task, task, distillation)


@dataclass(frozen=True)
class HardDistillation(Distiller):
    """The teacher's first choice as a second label (Touvron et al., 2021: DeiT's hard distillation).

    The loss is ``weight * cross entropy(student, teacher's arg-max) + (1 - weight) * cross entropy(student,
    label)``; without labels the first term alone. Raises ``ConfigError`` unless ``weight`` is in 0..1.
    """

    name: ClassVar[str] = "hard-distillation"
    maps: ClassVar[bool] = True
    weight: float = 0.5

    def __post_init__(self) -> None:
        check_share("weight", self.weight)

    def loss(self, student: Signals, teacher: Signals, targets: Tensor | None) -> Loss:
        """See ``Distiller.loss``; accepts data without labels."""
        distillation = functional.cross_entropy(student.logits, teacher.logits.argmax(1))
        if targets is None:
            return Loss(distillation, distillation.new_zeros(()), distillation)
        task = task_loss(student, targets)
        return Loss(self.weight * distillation + (1 - self.weight) * task, task, distillation)


@dataclass(frozen=True)
class HardLabels(Distiller):
    """The labels alone: a network trained from scratch, with no teacher."""

    name: ClassVar[str] = "hard-labels"
    maps: ClassVar[bool] = True
    uses_teacher: ClassVar[bool] = False

    def loss(self, student: Signals, teacher: Signals, targets: Tensor | None) -> Loss:
        """See ``Distiller.loss``; raises ``TrainError`` for data without labels."""
        if targets is None:
            raise TrainError(
                "the data has no labels and hard-labels learns from nothing else: use --distill soft-targets"
            )
        task = functional.cross_entropy(student.logits, targets)
        return Loss(task, task, task.new_zeros(()))
