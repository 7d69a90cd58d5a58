"""Teaching by relations between the images of a batch, as a graph of what the classifiers see."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from evaluators.distill.matching import Layer, Layers, paired
from evaluators.distill.methods.layered import Compared, Comparison, LayerMethod, mean
from understudy import ConfigError


@dataclass(frozen=True)
class Relational(LayerMethod):
    """Distances between pairs and angles between triples of images (RKD; Park et al., 2019).

    ``distance`` and ``angle`` weight the two Huber losses, as the paper does for classification.
    """

    name: ClassVar[str] = "relations"
    distance: float = 25.0
    angle: float = 50.0

    def comparison(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Comparison:
        """See ``LayerMethod.comparison``."""
        return _Relational(self.distance, self.angle)


@dataclass(frozen=True)
class RelationGraph(LayerMethod):
    """Graphs whose vertices are a batch's answers and whose edges are distances (IRG; Liu et al., 2019).

    Compared are vertices, edges of the last layers, and what becomes of the edges from stage to stage. Edges are
    squared distances as shares of the largest. The paper's transformation of vertices needs layers of one width,
    which any two networks do not have, and is left out.
    """

    name: ClassVar[str] = "relation-graph"
    vertex: float = 0.1
    edge: float = 5.0
    transform: float = 5.0

    def matched(self, student: Layers, teacher: Layers) -> list[tuple[Layer, Layer]]:
        """See ``LayerMethod.matched``."""
        return [*paired(student.stages, teacher.stages), (student.embedding, teacher.embedding)]

    def comparison(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Comparison:
        """See ``LayerMethod.comparison``."""
        return _RelationGraph(self.vertex, self.edge, self.transform)


@dataclass(frozen=True)
class Congruence(LayerMethod):
    """Correlations between a batch's images under a Gaussian kernel (correlation congruence; Peng et al., 2019).

    The kernel is its Taylor series up to ``order`` on features of unit length, ``gamma`` its width. As in the
    paper the answers are learnt from the teacher alone. The default is a tenth of the weight for long trainings:
    that one ruined short ones under some teachers (see ``tests/benchmarks/README.md``).
    """

    name: ClassVar[str] = "congruence"
    weight: float = 10.0
    soft: float = 1.0
    gamma: float = 0.4
    order: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.order < 1 or not self.gamma > 0:
            raise ConfigError(f"order and gamma must be above 0, but got {self.order} and {self.gamma}")

    def comparison(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Comparison:
        """See ``LayerMethod.comparison``."""
        return _Congruence(self.gamma, self.order)


class _Relational(Comparison):
    def __init__(self, distance: float, angle: float) -> None:
        super().__init__()
        self.weights = distance, angle

    def forward(self, batch: Compared) -> Tensor:
        total = batch.student[0].new_zeros(())
        for ours, theirs in batch.pairs:
            for weight, relation in zip(self.weights, (relative_distances, angles), strict=True):
                if weight:
                    total = total + weight * functional.smooth_l1_loss(relation(ours), relation(theirs))
        return total


class _RelationGraph(Comparison):
    def __init__(self, vertex: float, edge: float, transform: float) -> None:
        super().__init__()
        self.weights = vertex, edge, transform

    def forward(self, batch: Compared) -> Tensor:
        vertex, edge, transform = self.weights
        ours, theirs = ([_edges(features) for features in each] for each in (batch.student, batch.teacher))
        total = vertex * functional.mse_loss(*batch.logits) + edge * functional.mse_loss(ours[-1], theirs[-1])
        for index in range(1, len(ours)):
            change = ours[index] - ours[index - 1], theirs[index] - theirs[index - 1]
            total = total + transform * functional.mse_loss(*change) / (len(ours) - 1)
        return total


class _Congruence(Comparison):
    def __init__(self, gamma: float, order: int) -> None:
        super().__init__()
        self.gamma, self.order = gamma, order

    def forward(self, batch: Compared) -> Tensor:
        each = [(self._kernel(ours), self._kernel(theirs)) for ours, theirs in batch.pairs]
        return mean([functional.mse_loss(*pair) for pair in each])

    def _kernel(self, features: Tensor) -> Tensor:
        unit = functional.normalize(features, dim=1)
        cosines = unit @ unit.T
        series = [(2 * self.gamma) ** power / math.factorial(power) for power in range(self.order + 1)]
        terms = torch.stack([weight * cosines**power for power, weight in enumerate(series)])
        return math.exp(-2 * self.gamma) * terms.sum(0)


def relative_distances(features: Tensor) -> Tensor:
    """Distances between the rows of (B, D) over their mean, (B, B); zeros for a single row."""
    squares = _squared_distances(features)
    apart = squares > 0
    distances = squares.clamp_min(1e-12).sqrt() * apart
    return distances / (distances.sum() / apart.sum().clamp_min(1)).clamp_min(1e-12)


def angles(features: Tensor) -> Tensor:
    """Cosines of the angles at row i between rows j and k of (B, D), (B, B, B) by (i, j, k)."""
    centred = features - features.mean(0)
    products = centred @ centred.T
    at = products[None] - products[:, :, None] - products[:, None] + products.diagonal()[:, None, None]
    squares = _squared_distances(centred)
    scale = squares.clamp_min(1e-12).rsqrt() * (squares > 0)
    return at * scale[:, :, None] * scale[:, None]


def _squared_distances(features: Tensor) -> Tensor:
    squares = features.square().sum(1)
    apart = (squares[:, None] + squares[None] - 2 * features @ features.T).clamp_min(0)
    return apart * ~torch.eye(len(features), dtype=torch.bool, device=features.device)


def _edges(features: Tensor) -> Tensor:
    distances = _squared_distances(features)
    return distances / distances.max().clamp_min(1e-12)
