"""Teaching by feature maps: hints, attention, similarities, information."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from evaluators.distill.features import ATTENTION, as_map, pool
from evaluators.distill.matching import Layer
from evaluators.distill.methods.layered import Compared, Comparison, StageMethod, mean


@dataclass(frozen=True)
class Hints(StageMethod):
    """Feature maps of the teacher, copied through learnt adapters (FitNets; Romero et al., 2015).

    An adapter is a 1 x 1 convolution with batch norm; the distance is the mean square. The paper trains the
    middle layer first and the answers afterwards; here both are one loss, as in later comparisons, with their
    weight of 100.
    """

    name: ClassVar[str] = "hints"
    weight: float = 100.0
    stages: str = "middle"

    def comparison(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Comparison:
        """See ``LayerMethod.comparison``."""
        return _Hints(student, teacher)


@dataclass(frozen=True)
class AttentionTransfer(StageMethod):
    """Where the teacher looks: squared activations over the places (Zagoruyko and Komodakis, 2017).

    The distance of a pair is the mean square between maps of unit length; the weight is the paper's beta. The
    paper's maps have 8 x 8 places or more: the mean of a smaller one is taken as over so many, or its few places
    would outweigh all else.
    """

    name: ClassVar[str] = "attention"
    weight: float = 1000.0

    def form(self, student: Layer, teacher: Layer) -> str:
        """See ``LayerMethod.form``."""
        return ATTENTION

    def comparison(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Comparison:
        """See ``LayerMethod.comparison``."""
        return _Attention()


@dataclass(frozen=True)
class SimilarityPreserving(StageMethod):
    """Images that activate the teacher alike activate the student alike (Tung and Mori, 2019).

    The distance is between the batch's matrices of inner products, their rows of unit length. The default is a
    tenth of the paper's weight, which makes short trainings worse than no teacher (see
    ``tests/benchmarks/README.md``).
    """

    name: ClassVar[str] = "similarity"
    weight: float = 300.0
    stages: str = "last"

    def comparison(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Comparison:
        """See ``LayerMethod.comparison``."""
        return _Similarity()


@dataclass(frozen=True)
class Information(StageMethod):
    """A bound on what the student's maps tell of the teacher's (VID; Ahn et al., 2019).

    The teacher's map is taken as normally distributed around one regressed from the student's, with a learnt
    variance a channel; the distance is the mean negative log-likelihood.
    """

    name: ClassVar[str] = "information"

    def comparison(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Comparison:
        """See ``LayerMethod.comparison``."""
        return _Information(student, teacher)


class BatchNorm(nn.BatchNorm2d):
    """Batch norm that lets through what has no spread: one value a channel."""

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> the same."""
        return features if features.numel() == self.num_features else super().forward(features)


def adapter(inputs: int, outputs: int, hidden: int | None = None) -> nn.Sequential:
    """A learnt map between channels, place by place; ``hidden`` channels and a ReLU in between if given."""
    if hidden is None:
        return nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), BatchNorm(outputs))
    first = nn.Conv2d(inputs, hidden, 1, bias=False), BatchNorm(hidden), nn.ReLU()
    return nn.Sequential(*first, nn.Conv2d(hidden, outputs, 1))


class _Hints(Comparison):
    def __init__(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> None:
        super().__init__()
        pairs = zip(student, teacher, strict=True)
        self.adapters = nn.ModuleList(adapter(ours.shape[1], theirs.shape[1]) for ours, theirs in pairs)

    def forward(self, batch: Compared) -> Tensor:
        each = zip(self.adapters, batch.pairs, strict=True)
        return mean([functional.mse_loss(adapt(as_map(ours)), as_map(theirs)) for adapt, (ours, theirs) in each])


class _Attention(Comparison):
    def forward(self, batch: Compared) -> Tensor:
        total = batch.student[0].new_zeros(())
        for ours, theirs in batch.pairs:
            side = min(*ours.shape[2:], *theirs.shape[2:])
            apart = (_unit(pool(ours, side)) - _unit(pool(theirs, side))).square()
            total = total + apart.sum() / max(apart.numel(), _FEWEST_PLACES * len(apart))
        return total


class _Similarity(Comparison):
    def forward(self, batch: Compared) -> Tensor:
        each = [(_similarities(ours), _similarities(theirs)) for ours, theirs in batch.pairs]
        return mean([functional.mse_loss(*pair) for pair in each])


class _Information(Comparison):
    def __init__(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> None:
        super().__init__()
        pairs = [(ours.shape[1], theirs.shape[1]) for ours, theirs in zip(student, teacher, strict=True)]
        self.regressors = nn.ModuleList(adapter(ours, theirs, theirs) for ours, theirs in pairs)
        self.spreads = nn.ParameterList(nn.Parameter(torch.full((theirs,), _SPREAD)) for _, theirs in pairs)

    def forward(self, batch: Compared) -> Tensor:
        total = batch.student[0].new_zeros(())
        for regress, spread, (ours, theirs) in zip(self.regressors, self.spreads, batch.pairs, strict=True):
            variance = (functional.softplus(spread) + 1e-5).view(-1, 1, 1)
            likelihood = (regress(as_map(ours)) - as_map(theirs)).square() / variance + variance.log()
            total = total + likelihood.mean() / 2
        return total


_SPREAD = 4.993
"""Softplus of it is 5, the variance to begin with."""


_FEWEST_PLACES = 64


def _unit(maps: Tensor) -> Tensor:
    return functional.normalize(maps.flatten(1), dim=1)


def _similarities(features: Tensor) -> Tensor:
    flat = features.flatten(1)
    return functional.normalize(flat @ flat.T, dim=1)
