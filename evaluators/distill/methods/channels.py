"""Teaching where, on the maps that two networks answer with, each class is to be looked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from evaluators.distill.distiller import Distiller, Loss
from evaluators.distill.methods.outputs import check_temperature, check_weights, softened_divergence, task_loss
from evaluators.distill.places import maps
from evaluators.distill.signals import Signals
from understudy import ConfigError


@dataclass(frozen=True)
class ChannelWise(Distiller):
    """Channel-wise distillation (Shu et al., 2021): the places of each class's map compete as the teacher's do.

    The loss is ``cross entropy + weight * T^2 * KL(teacher_T || student_T)``, where ``_T`` is the softmax over all
    places of one class's map at ``temperature`` T, the mean over classes and samples. For answers that are maps.

    Raises ``ConfigError`` for a temperature of 0 or below, or a negative weight.
    """

    name: ClassVar[str] = "channel-wise"
    maps: ClassVar[bool] = True
    only_maps: ClassVar[bool] = True
    temperature: float = 4.0
    weight: float = 3.0

    def __post_init__(self) -> None:
        check_temperature(self.temperature)
        check_weights(weight=self.weight)

    def loss(self, student: Signals, teacher: Signals, targets: Tensor | None) -> Loss:
        """See ``Distiller.loss``; accepts data without labels."""
        if student.ids is None:
            raise ConfigError(f"{self.name} needs to know how many samples the places are of")
        ours, theirs = (maps(signals.logits, len(student.ids)).flatten(0, 1) for signals in (student, teacher))
        distillation = softened_divergence(ours, theirs, self.temperature)
        task = task_loss(student, targets)
        return Loss(task + self.weight * distillation, task, distillation)
