"""Teaching without a teacher: two students that learn side by side."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from evaluators.distill.distiller import Distiller, Loss
from evaluators.distill.methods.outputs import check_temperature, check_weights, softened_divergence
from evaluators.distill.signals import Signals
from evaluators.distill.stretch import put_back
from spaces.batch import Batch, parts
from understudy import TrainError

if TYPE_CHECKING:
    from evaluators.teachers.teacher import Teacher


@dataclass(frozen=True)
class Mutual(Distiller):
    """Deep mutual learning (Zhang et al., 2018): a peer of the same architecture, trained alongside.

    Each of the two minimises its cross entropy plus ``weight`` times its divergence from the other's answers to
    the same images at ``temperature``. The peer starts from weights of its own and is dropped at the end; it
    doubles the cost of a step. Raises ``ConfigError`` for a temperature of 0 or below, or a negative weight.
    """

    name: ClassVar[str] = "mutual"
    uses_teacher: ClassVar[bool] = False
    weight: float = 1.0
    temperature: float = 1.0

    def __post_init__(self) -> None:
        check_temperature(self.temperature)
        check_weights(weight=self.weight)

    def attached(self, student: nn.Module, teacher: Teacher | None, images: Batch) -> Distiller:
        """See ``Distiller.attached``: the recipe with a peer."""
        return _WithPeer(self, _peer_of(student))

    def loss(self, student: Signals, teacher: Signals, targets: Tensor | None) -> Loss:
        """See ``Distiller.loss``; only a recipe that is attached to a student has a peer."""
        raise TrainError("mutual learning needs a peer: attach it to the student first")


class _WithPeer(Distiller):
    name: ClassVar[str] = Mutual.name
    uses_teacher: ClassVar[bool] = False

    def __init__(self, recipe: Mutual, peer: nn.Module) -> None:
        self._recipe, self._peer = recipe, peer

    def parameters(self) -> Iterable[nn.Parameter]:
        return self._peer.parameters()

    def state(self) -> dict[str, Tensor]:
        return self._peer.state_dict()

    def put_back(self, state: Mapping[str, Tensor]) -> None:
        put_back(self._peer, state)

    def loss(self, student: Signals, teacher: Signals, targets: Tensor | None) -> Loss:
        if targets is None:
            raise TrainError("the data has no labels, and mutual learns from them first: name a --teacher")
        assert student.images is not None
        with torch.autocast("cuda", torch.bfloat16, enabled=student.logits.is_cuda):
            answers = self._peer(*parts(student.images))
        peer = answers.float()
        task = functional.cross_entropy(student.logits, targets)
        ours, theirs = self._divergence(student.logits, peer), self._divergence(peer, student.logits)
        peers = functional.cross_entropy(peer, targets) + self._recipe.weight * theirs
        return Loss(task + self._recipe.weight * ours + peers, task, ours)

    def _divergence(self, learner: Tensor, other: Tensor) -> Tensor:
        return softened_divergence(learner, other.detach(), self._recipe.temperature)


def _peer_of(student: nn.Module) -> nn.Module:
    """The same network with initial weights of its own, in training mode.

    The seed of a training is also that of its student's initial weights, from which a peer would then not differ
    and learn nothing: the peer has the next one.
    """
    peer = copy.deepcopy(student)
    with torch.random.fork_rng():
        torch.manual_seed(torch.initial_seed() + 1)
        for module in peer.modules():  # torch's layers share this method, but no class that declares it
            reset = getattr(module, "reset_parameters", None)
            if reset is not None:
                reset()
    return peer.train()
