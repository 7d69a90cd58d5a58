"""Teaching by telling images apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from evaluators.distill.methods.layered import Compared, Comparison, LayerMethod
from understudy import ConfigError

_EMBEDDING = 128


@dataclass(frozen=True)
class Contrastive(LayerMethod):
    """Which of many embeddings by the teacher is of the same image, and the reverse (CRD; Tian et al., 2020).

    Both embeddings are projected to 128 dimensions of unit length. An image is told from the others of its batch
    and, by the student, from the latest ``bank`` that the teacher saw, none of them of its own class where the
    labels are known. The paper draws its negatives from a bank of all training images by number, and tells them
    apart one by one; here the right one is found among all (InfoNCE; van den Oord et al., 2018), which bounds the
    same mutual information. ``contrast`` is the temperature of that decision.
    """

    name: ClassVar[str] = "contrastive"
    weight: float = 0.8
    contrast: float = 0.07
    bank: int = 512

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bank < 0 or not self.contrast > 0:
            raise ConfigError(
                f"contrast must be above 0 and bank not below, but got {self.contrast} and {self.bank}"
            )

    def comparison(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Comparison:
        """See ``LayerMethod.comparison``."""
        return _Contrastive(student, teacher, self.contrast, self.bank)


class _Contrastive(Comparison):
    seen: Tensor
    classes: Tensor

    def __init__(self, student: Sequence[Tensor], teacher: Sequence[Tensor], contrast: float, bank: int) -> None:
        super().__init__()
        self.contrast, self.bank = contrast, bank
        self.ours = nn.ModuleList(nn.Linear(features.shape[1], _EMBEDDING) for features in student)
        self.theirs = nn.ModuleList(nn.Linear(features.shape[1], _EMBEDDING) for features in teacher)
        self.widths = [features.shape[1] for features in teacher]
        self.register_buffer("seen", torch.empty(0, sum(self.widths)))
        self.register_buffer("classes", torch.empty(0, dtype=torch.int64))

    def forward(self, batch: Compared) -> Tensor:
        first = batch.student[0]
        labels = torch.full((len(first),), -1, device=first.device) if batch.targets is None else batch.targets
        classes = torch.cat([labels, self.classes])
        earlier = torch.split(self.seen, self.widths, dim=1)
        total = first.new_zeros(())
        for ours, theirs, (said, taught), before in zip(self.ours, self.theirs, batch.pairs, earlier, strict=True):
            with torch.no_grad():
                others = _unit(theirs(before))
            scores = _unit(ours(said)) @ torch.cat([_unit(theirs(taught)), others]).T / self.contrast
            total = total + told_apart(scores, labels, classes)
            total = total + told_apart(scores[:, : len(labels)].T, labels, labels)
        self.seen = torch.cat([torch.cat(list(batch.teacher), dim=1), self.seen])[: self.bank]
        self.classes = classes[: self.bank]
        return total


def told_apart(scores: Tensor, anchors: Tensor, others: Tensor) -> Tensor:
    """InfoNCE of scores (B, N) with the positives on the diagonal; ``anchors`` and ``others`` are classes.

    Others of an anchor's own class are no negatives; a class of -1 is not known.
    """
    same = (anchors[:, None] == others[None]) & (anchors[:, None] >= 0)
    places = torch.arange(len(anchors), device=scores.device)
    same[places, places] = False
    return functional.cross_entropy(scores.masked_fill(same, -torch.inf), places)


def _unit(features: Tensor) -> Tensor:
    return functional.normalize(features, dim=1)
