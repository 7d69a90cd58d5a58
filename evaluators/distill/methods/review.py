"""Teaching by several levels at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from evaluators.distill.features import as_map, pool
from evaluators.distill.methods.features import BatchNorm
from evaluators.distill.methods.layered import Compared, Comparison, StageMethod

_LEVELS = (4, 2, 1)
_WIDEST = 512


@dataclass(frozen=True)
class Review(StageMethod):
    """Each level of the teacher is learnt by all later levels of the student (ReviewKD; Chen et al., 2021).

    From the last level to the first the student's maps are fused by learnt attention (ABF); each is compared as
    it is and averaged down to 4, 2 and 1 places a side (HCL).
    """

    name: ClassVar[str] = "review"
    weight: float = 1.0

    def comparison(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Comparison:
        """See ``LayerMethod.comparison``."""
        return _Review(student, teacher)


class _Review(Comparison):
    def __init__(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> None:
        super().__init__()
        middle = min(_WIDEST, max(features.shape[1] for features in student))
        pairs = list(zip(student, teacher, strict=True))
        self.fusions = nn.ModuleList(
            Fusion(ours.shape[1], middle, theirs.shape[1], index + 1 < len(pairs))
            for index, (ours, theirs) in enumerate(pairs)
        )

    def forward(self, batch: Compared) -> Tensor:
        total, later = batch.student[0].new_zeros(()), None
        for fuse, (ours, theirs) in zip(reversed(self.fusions), reversed(batch.pairs), strict=True):
            said, later = fuse(as_map(ours), later)
            total = total + hierarchical_distance(said, as_map(theirs))
        return total


class Fusion(nn.Module):
    """Attention-based fusion of a level with what came of the later ones.

    (B, inputs, H, W) and the later (B, middle, h, w) -> (B, outputs, H, W) and the fused (B, middle, H, W).
    """

    def __init__(self, inputs: int, middle: int, outputs: int, fused: bool) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.Conv2d(inputs, middle, 1, bias=False), BatchNorm(middle))
        self.leave = nn.Sequential(nn.Conv2d(middle, outputs, 3, padding=1, bias=False), BatchNorm(outputs))
        self.attend = nn.Sequential(nn.Conv2d(2 * middle, 2, 1), nn.Sigmoid()) if fused else None

    def forward(self, features: Tensor, later: Tensor | None) -> tuple[Tensor, Tensor]:
        entered: Tensor = self.enter(features)
        if self.attend is not None and later is not None:
            later = functional.interpolate(later, entered.shape[2:], mode="nearest")
            gates = self.attend(torch.cat([entered, later], dim=1))
            entered = entered * gates[:, :1] + later * gates[:, 1:]
        return self.leave(entered), entered


def hierarchical_distance(ours: Tensor, theirs: Tensor) -> Tensor:
    """The mean square of two maps (B, C, H, W), with those of 4, 2 and 1 places weighted 1/2, 1/4 and 1/8."""
    total, weights, weight = functional.mse_loss(ours, theirs), 1.0, 1.0
    for side in _LEVELS:
        if side < ours.shape[-1]:
            weight /= 2
            total = total + weight * functional.mse_loss(pool(ours, side), pool(theirs, side))
            weights += weight
    return total / weights
