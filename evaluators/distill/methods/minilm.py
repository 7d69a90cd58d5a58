"""Teaching by what attention compares: the relations among a text's queries, keys and values."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from evaluators.distill.distiller import Distiller, Loss
from evaluators.distill.methods.response import SoftTargets
from evaluators.distill.signals import Signals
from evaluators.distill.teacher_signals import check_teacher
from evaluators.teachers.teacher import Teacher
from spaces.batch import Batch
from understudy import ConfigError

_PARTS = (r"query|q_lin|q_proj", r"key|k_lin|k_proj", r"value|v_lin|v_proj")
"""What networks call the layers that make queries, keys and values."""
_HIDDEN = -1e4


@dataclass(frozen=True)
class MiniLM(Distiller):
    """Relations among queries, among keys and among values of the last attention (MiniLMv2; Wang et al., 2021).

    For texts. Each of the three is split into ``heads`` parts, whatever the heads of the networks; a part's scaled
    products of all pairs of tokens, after a softmax, are what both networks are compared by (KL). The loss is
    that of ``SoftTargets(temperature, soft)``, which for ``soft`` 0 are the labels alone, plus ``weight`` times
    the mean divergence. Where a student reads fewer tokens than its teacher, the first ones are compared.

    Raises ``ConfigError`` for settings out of range, and when it is attached to networks without such layers, or
    to ones whose widths have no such parts.
    """

    name: ClassVar[str] = "minilm"
    only_texts: ClassVar[bool] = True
    weight: float = 1.0
    soft: float = 0.9
    temperature: float = 4.0
    heads: int = 8

    def __post_init__(self) -> None:
        SoftTargets(self.temperature, self.soft)
        if not self.weight >= 0 or self.heads < 1:
            raise ConfigError(
                f"minilm takes a weight of at least 0 and 1 or more heads, but got {self.weight} and {self.heads}"
            )

    @property
    def needs_network(self) -> bool:
        """The layers are found in the networks themselves."""
        return True

    def attached(self, student: nn.Module, teacher: Teacher | None, images: Batch) -> Distiller:
        """See ``Distiller.attached``; finds the last attention of both."""
        check_teacher(self, teacher)
        assert teacher is not None
        assert teacher.module is not None
        if not isinstance(images, Tensor) or images.is_floating_point():
            raise ConfigError("minilm compares the tokens of texts, and the data are none: use another --distill")
        return AttachedMiniLM(
            self, self._layers(student, "student"), self._layers(teacher.module, f"teacher {teacher.name}")
        )

    def loss(self, student: Signals, teacher: Signals, targets: Tensor | None) -> Loss:
        """Only an attached method knows its layers."""
        raise TypeError("minilm must be attached to two networks before it gives a loss")

    def _layers(self, network: nn.Module, owner: str) -> tuple[str, ...]:
        dense = {name: layer for name, layer in network.named_modules() if isinstance(layer, nn.Linear)}
        found = []
        for part in _PARTS:
            names = [name for name in dense if re.fullmatch(part, name.rpartition(".")[2])]
            if not names:
                raise ConfigError(
                    f"the {owner} has no layers named query, key and value that minilm could compare: use a "
                    "method of outputs, such as --distill soft-targets"
                )
            if dense[names[-1]].out_features % self.heads:
                raise ConfigError(
                    f"{names[-1]} of the {owner} is {dense[names[-1]].out_features} wide, which are no "
                    f"{self.heads} equal parts: set minilm:heads"
                )
            found.append(names[-1])
        return tuple(found)


@dataclass(frozen=True)
class AttachedMiniLM(Distiller):
    """The method with the layers that it compares."""

    method: MiniLM
    student_layers: tuple[str, ...]
    teacher_layers: tuple[str, ...]

    @property
    def name(self) -> str:  # type: ignore[override]
        """That of the method."""
        return self.method.name

    def loss(self, student: Signals, teacher: Signals, targets: Tensor | None) -> Loss:
        """See ``Distiller.loss``; accepts data without labels."""
        assert isinstance(student.images, Tensor)
        kept = student.images != 0
        divergences = [
            relation_divergence(student.features[ours].float(), teacher.features[theirs], kept, self.method.heads)
            for ours, theirs in zip(self.student_layers, self.teacher_layers, strict=True)
        ]
        distance = torch.stack(divergences).mean()
        answers = SoftTargets(self.method.temperature, self.method.soft).loss(student, teacher, targets)
        taught = distance if self.method.soft == 0 and targets is not None else distance + answers.distillation
        return Loss(answers.total + self.method.weight * distance, answers.task, taught)


def relation_divergence(student: Tensor, teacher: Tensor, kept: Tensor, heads: int) -> Tensor:
    """The mean KL from the teacher's relations to the student's, over heads and the tokens that are ``kept``.

    ``student`` (B, T, C), ``teacher`` (B, at least T, D) and ``kept``, bool (B, T); a scalar.
    """
    ours, theirs = (
        _relations(each, kept, heads) for each in (student, teacher[:, : student.shape[1]].contiguous())
    )
    by_token = (theirs.exp() * (theirs - ours)).sum(3).mean(1)
    return (by_token * kept).sum() / kept.sum().clamp(min=1)


def _relations(vectors: Tensor, kept: Tensor, heads: int) -> Tensor:
    """Logarithms of how each token relates to all, (B, heads, T, T)."""
    parts = vectors.view(*vectors.shape[:2], heads, -1).transpose(1, 2)
    scores = parts @ parts.transpose(2, 3) / math.sqrt(parts.shape[3])
    return scores.masked_fill(~kept[:, None, None, :], _HIDDEN).log_softmax(3)
