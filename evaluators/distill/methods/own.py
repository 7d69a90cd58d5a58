"""Teaching without a teacher: by what the student itself answered before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from evaluators.distill.distiller import Distiller, Loss
from evaluators.distill.methods.outputs import check_share
from evaluators.distill.signals import Signals
from understudy import TrainError


@dataclass(frozen=True)
class ProgressiveSelf(Distiller):
    """Progressive self-knowledge distillation, PS-KD (Kim et al., 2021).

    The target of a sample is ``(1 - a) * label + a * the student's own answer of the epoch before``; ``a`` climbs
    linearly to ``weight`` by the end of the training, as the student comes to be worth listening to. Costs no
    pass of any network. Raises ``ConfigError`` unless ``weight`` is in 0..1.
    """

    name: ClassVar[str] = "self"
    uses_teacher: ClassVar[bool] = False
    weight: float = 0.8

    def __post_init__(self) -> None:
        check_share("weight", self.weight)

    def prepared(self, student: Signals, teacher: Signals) -> Distiller:
        """See ``Distiller.prepared``: one training's memory of answers."""
        return _Remembering(self)

    def loss(self, student: Signals, teacher: Signals, targets: Tensor | None) -> Loss:
        """See ``Distiller.loss``; without a memory the labels alone."""
        return _Remembering(self).loss(student, teacher, targets)


class _Remembering(Distiller):
    """The answers of the latest epoch by sample; a row of zeros for one that has not answered yet."""

    name: ClassVar[str] = ProgressiveSelf.name
    uses_teacher: ClassVar[bool] = False

    def __init__(self, recipe: ProgressiveSelf) -> None:
        self._recipe = recipe
        self._answers = torch.empty(0)

    def state(self) -> dict[str, Tensor]:
        return {"answers": self._answers}

    def put_back(self, state: Mapping[str, Tensor]) -> None:
        self._answers = state["answers"].clone()

    def loss(self, student: Signals, teacher: Signals, targets: Tensor | None) -> Loss:
        if targets is None or student.ids is None:
            raise TrainError("the data has no labels, and self learns from them first: name a --teacher")
        before = self._before(student.ids, student.logits)
        self._answers[student.ids] = student.logits.detach().softmax(1).cpu()
        share = self._recipe.weight * student.progress
        labels = functional.cross_entropy(student.logits, targets, reduction="none")
        own = functional.cross_entropy(student.logits, before, reduction="none")
        answered = before.sum(1)
        return Loss(((1 - share * answered) * labels + share * own).mean(), labels.mean(), own.mean())

    def _before(self, ids: Tensor, logits: Tensor) -> Tensor:
        missing = int(ids.max()) + 1 - len(self._answers)
        if missing > 0:
            more = torch.zeros(missing, logits.shape[1])
            self._answers = torch.cat([self._answers.view(-1, logits.shape[1]), more])
        return self._answers[ids].to(logits.device)
