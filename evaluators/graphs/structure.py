"""Teaching one graph network by another through the structure of neighbourhoods."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from evaluators.distill.distiller import Distiller, Loss
from evaluators.distill.signals import Signals
from evaluators.graphs.networks import GraphNet
from evaluators.teachers.teacher import Teacher
from understudy import ConfigError


@dataclass(frozen=True)
class LocalStructure(Distiller):
    """Local structure preserving (LSP, Yang et al., CVPR 2020, arXiv:2003.10477).

    How near a node's neighbours are to it, by an RBF kernel of width ``sigma`` on the outputs of the first layer
    over the graph, is a distribution over its neighbours; the loss is ``weight`` times the mean divergence of the
    student's from the teacher's, plus the cross entropy of the labels. For students that know the graph
    (``GraphNet`` on a ``WholeGraph``), trained with the live teacher; widths may differ.

    Raises ``ConfigError`` unless both networks are such.
    """

    name: ClassVar[str] = "local-structure"
    student_layers: tuple[str, ...] = ("first",)
    teacher_layers: tuple[str, ...] = ("first",)
    weight: float = 100.0
    sigma: float = 100.0
    edges: Tensor = field(default_factory=lambda: torch.empty(2, 0), repr=False, compare=False)

    def attached(self, student: nn.Module, teacher: Teacher | None, images: Tensor) -> Distiller:
        """The distiller with the edges that both networks know."""
        if not isinstance(student, GraphNet) or teacher is None or not isinstance(teacher.module, GraphNet):
            raise ConfigError(
                "local-structure compares networks that both know the graph, but this student takes features "
                "alone: teach it with soft-targets"
            )
        return replace(self, edges=student.edges)

    def loss(self, student: Signals, teacher: Signals, targets: Tensor | None) -> Loss:
        """See ``Distiller.loss``; accepts data without labels."""
        ours = self._log_structure(student.features[self.student_layers[0]])
        theirs = self._log_structure(teacher.features[self.teacher_layers[0]])
        distillation = (theirs.exp() * (theirs - ours)).sum() / len(student.features[self.student_layers[0]])
        if targets is None:
            reached = 0 * student.logits.sum()  # the last layer has a gradient at every step, if only zero
            return Loss(self.weight * distillation + reached, distillation.new_zeros(()), distillation)
        task = functional.cross_entropy(student.logits, targets)
        return Loss(task + self.weight * distillation, task, distillation)

    def _log_structure(self, features: Tensor) -> Tensor:
        """Of each edge, the log of its share among those of the node that it comes from, (E,)."""
        node, neighbour = self.edges
        distance = (features[node] - features[neighbour]).square().sum(1)
        likeness = torch.exp(-distance / (2 * self.sigma))  # in 0..1, so that no shift is needed before exp
        total = likeness.new_zeros(len(features)).index_add(0, node, likeness.exp())
        return likeness - total.log()[node]
