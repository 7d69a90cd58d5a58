"""Teaching by feature maps where answers are maps: how places are alike, and what is near objects."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from evaluators.distill.features import as_map
from evaluators.distill.matching import Layer
from evaluators.distill.methods.features import adapter
from evaluators.distill.methods.layered import Compared, Comparison, StageMethod, mean

_PLACES = 16
"""A side of the maps whose places are compared with each other, at most."""


@dataclass(frozen=True)
class PixelAffinity(StageMethod):
    """Places that are alike to the teacher are alike to the student (pair-wise distillation; Liu et al., 2019).

    Alike is the cosine of the features of two places; the distance is the mean square over all pairs of places, of
    maps averaged down to 16 x 16 at most ("Structured Knowledge Distillation for Semantic Segmentation",
    arXiv:1903.04197, whose weight this is). For answers that are maps.
    """

    name: ClassVar[str] = "pixel-affinity"
    maps: ClassVar[bool] = True
    only_maps: ClassVar[bool] = True
    weight: float = 10.0
    soft: float = 0.9
    stages: str = "last"

    def form(self, student: Layer, teacher: Layer) -> str:
        """See ``LayerMethod.form``."""
        return str(min(student.side, teacher.side, _PLACES))

    def comparison(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Comparison:
        """See ``LayerMethod.comparison``."""
        return _Affinity()


@dataclass(frozen=True)
class ObjectFeatures(StageMethod):
    """Feature maps of the teacher, copied through learnt adapters near objects only (Wang et al., 2019).

    So the background, which is most of a picture, does not outweigh them ("Distilling Object Detectors with
    Fine-grained Feature Imitation", arXiv:1906.03609). Near an object is a place that lies in a box, on any of
    the maps where it is looked for, or whose mask is of another class than the first; without labels, all are. The
    distance is the mean square there. For answers that are maps.
    """

    name: ClassVar[str] = "object-features"
    maps: ClassVar[bool] = True
    only_maps: ClassVar[bool] = True
    soft: float = 0.9

    def comparison(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Comparison:
        """See ``LayerMethod.comparison``."""
        return _NearObjects(student, teacher)


class _Affinity(Comparison):
    def forward(self, batch: Compared) -> Tensor:
        return mean([functional.mse_loss(_affinities(ours), _affinities(theirs)) for ours, theirs in batch.pairs])


class _NearObjects(Comparison):
    def __init__(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> None:
        super().__init__()
        pairs = zip(student, teacher, strict=True)
        self.adapters = torch.nn.ModuleList(adapter(ours.shape[1], theirs.shape[1]) for ours, theirs in pairs)

    def forward(self, batch: Compared) -> Tensor:
        each = zip(self.adapters, batch.pairs, strict=True)
        return mean([self._apart(adapt(as_map(ours)), as_map(theirs), batch) for adapt, (ours, theirs) in each])

    def _apart(self, ours: Tensor, theirs: Tensor, batch: Compared) -> Tensor:
        squares = (ours - theirs).square().mean(1)
        if batch.targets is None:
            return squares.mean()
        near = near_objects(batch.targets, squares.shape, batch.sides)
        return (squares * near).sum() / near.sum().clamp_min(1)


def near_objects(targets: Tensor, shape: Sequence[int], sides: Sequence[int] = ()) -> Tensor:
    """1 where an object is near a place of maps (B, H, W), else 0.

    ``targets`` are of all places of answers: of maps of ``sides`` places a side, or of one.
    """
    count, *size = shape
    sides = sides or (math.isqrt(len(targets) // count),)
    maps = torch.split(targets.view(count, -1), [side * side for side in sides], dim=1)
    near = [
        _scaled((each.reshape(count, 1, side, side) != 0).float(), size)
        for each, side in zip(maps, sides, strict=True)
    ]
    return torch.stack(near).amax(0)[:, 0]


def _scaled(objects: Tensor, size: list[int]) -> Tensor:
    if objects.shape[-1] <= max(size):
        return functional.interpolate(objects, size=size, mode="nearest")
    pooled: Tensor = functional.adaptive_max_pool2d(objects, size)
    return pooled


def _affinities(features: Tensor) -> Tensor:
    """(B, C, H, W) to the cosines of all pairs of places, (B, H W, H W)."""
    places = functional.normalize(as_map(features).flatten(2), dim=1)
    return places.transpose(1, 2) @ places
