"""Teaching the nodes of a graph through the structure of their neighbourhoods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from evaluators.distill.distiller import Distiller, Loss
from evaluators.distill.matching import trace_layers
from evaluators.distill.methods.outputs import check_weights
from evaluators.distill.methods.response import SoftTargets
from evaluators.distill.signals import Signals
from evaluators.graphs.networks import GraphNet
from evaluators.teachers.teacher import Teacher
from spaces.batch import Batch
from understudy import ConfigError


@dataclass(frozen=True)
class LocalStructure(Distiller):
    """Neighbours of a graph's node as near to it as the teacher has them (LSP; Yang et al., 2020).

    How near a node's neighbours are to it, by an RBF kernel on the outputs of the teacher's first layer over the
    graph and on what the student's classifier sees, is a distribution over its neighbours. The loss is ``weight``
    times the mean divergence of the student's from the teacher's, plus that of ``SoftTargets(temperature, soft)``,
    by default GLNN's. The paper (CVPR 2020, arXiv:2003.10477) compares two networks of one kind that compute the
    whole graph at every step. A student here is of another kind and sees a few nodes and no graph: ``sigma``, the
    kernel's width, is in units of a network's own mean squared distance, and neighbours are as the student last
    answered for them, kept without a gradient (a memory bank; Wu et al., 2018, arXiv:1805.01978).

    Raises ``ConfigError`` for settings out of range, and unless the teacher is a graph network.
    """

    name: ClassVar[str] = "local-structure"
    only_graphs: ClassVar[bool] = True
    weight: float = 10.0
    sigma: float = 1.0
    soft: float = 1.0
    temperature: float = 1.0

    def __post_init__(self) -> None:
        SoftTargets(self.temperature, self.soft)
        check_weights(weight=self.weight)
        if not self.sigma > 0:
            raise ConfigError(f"sigma must be above 0, but got {self.sigma}")

    @property
    def needs_network(self) -> bool:
        """The teacher's structure is read once, when the method meets it."""
        return True

    def attached(self, student: nn.Module, teacher: Teacher | None, images: Batch) -> Distiller:
        """See ``Distiller.attached``; reads the graph and the teacher's structure."""
        network = None if teacher is None else teacher.module
        if not isinstance(network, GraphNet):
            raise ConfigError(
                f"{self.name} compares the neighbourhoods of a graph, which this teacher does not know: teach the "
                "nodes of a graph by gcn, gat or sage, or use a method of outputs, such as soft-targets"
            )
        if isinstance(student, GraphNet):
            raise ConfigError(f"{self.name} is for students that see no graph: teach this one with soft-targets")
        layer = f"{trace_layers(student, images, 'student').embedding.name}@1"
        source, neighbour = network.edges
        likeness = _likeness(network.hidden(), network.hidden()[neighbour], source, self.sigma)
        return _Lesson(self, network.edges, likeness, network.trained, (layer,))

    def loss(self, student: Signals, teacher: Signals, targets: Tensor | None) -> Loss:
        """Only an attached method knows the graph."""
        raise TypeError(f"{self.name} must be attached to two networks before it gives a loss")


@dataclass(frozen=True)
class _Lesson(Distiller):
    """The method on one graph: ``edges`` (2, E) from node to node, their ``likeness`` by the teacher (E,), the
    node of each training sample, and from ``prepared`` on what the student last said of each node (the bank)."""

    method: LocalStructure
    edges: Tensor
    likeness: Tensor
    nodes: Tensor
    student_layers: tuple[str, ...]
    bank: Tensor = field(default_factory=lambda: torch.empty(0))
    known: Tensor = field(default_factory=lambda: torch.empty(0))

    @property
    def name(self) -> str:  # type: ignore[override]
        """That of the method."""
        return self.method.name

    def prepared(self, student: Signals, teacher: Signals) -> Distiller:
        """See ``Distiller.prepared``; the bank is empty."""
        device, width = student.logits.device, student.features[self.student_layers[0]].shape[1]
        return replace(
            self,
            edges=self.edges.to(device),
            likeness=self.likeness.to(device),
            bank=torch.zeros(len(self.nodes), width, device=device),
            known=torch.zeros(len(self.nodes), dtype=torch.bool, device=device),
        )

    def state(self) -> dict[str, Tensor]:
        """See ``Distiller.state``: the bank."""
        return {"bank": self.bank, "known": self.known}

    def put_back(self, state: Mapping[str, Tensor]) -> None:
        """See ``Distiller.put_back``."""
        self.bank.copy_(state["bank"])
        self.known.copy_(state["known"])

    def loss(self, student: Signals, teacher: Signals, targets: Tensor | None) -> Loss:
        """See ``Distiller.loss``; accepts data without labels. Neighbours not seen yet do not count."""
        answers = SoftTargets(self.method.temperature, self.method.soft).loss(student, teacher, targets)
        divergence = self._divergence(student)
        return Loss(
            answers.total + self.method.weight * divergence, answers.task, answers.distillation + divergence
        )

    def _divergence(self, student: Signals) -> Tensor:
        """The mean over the batch's nodes, with the batch put into the bank."""
        assert student.ids is not None
        features = student.features[self.student_layers[0]].float()
        nodes = self.nodes[student.ids].to(features.device)
        self.bank[nodes], self.known[nodes] = features.detach(), True
        place = torch.full((len(self.bank),), -1, device=features.device)
        place[nodes] = torch.arange(len(nodes), device=features.device)
        source, neighbour = self.edges
        near = (place[source] >= 0) & self.known[neighbour]
        anchor = place[source[near]]
        theirs = _shares(self.likeness[near], anchor, len(nodes))
        ours = _shares(
            _likeness(features, self.bank[neighbour[near]], anchor, self.method.sigma), anchor, len(nodes)
        )
        return (theirs.exp() * (theirs - ours)).sum() / len(nodes)


def _likeness(features: Tensor, neighbours: Tensor, anchor: Tensor, sigma: float) -> Tensor:
    """How near each edge's neighbour (E, D) is to the row of ``features`` that it belongs to, 0..1, (E,)."""
    squares = (features[anchor] - neighbours).square().sum(1)
    return torch.exp(-squares / (2 * sigma * squares.detach().mean().clamp_min(1e-12)))


def _shares(likeness: Tensor, anchor: Tensor, count: int) -> Tensor:
    """Of each edge, the log of its share among those of its anchor, (E,)."""
    total = likeness.new_zeros(count).index_add(0, anchor, likeness.exp())  # of values in 0..1: none overflows
    return likeness - total.log()[anchor]
