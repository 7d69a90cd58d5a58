"""Block-wise supervision: each stage of a sub-network learns by itself what the teacher's stage gives.

After DNA (Li et al., 2020, "Blockwisely supervised neural architecture search with knowledge distillation",
arXiv:1911.13053), which cuts a supernet into blocks, so that each has few paths and learns them well, and ranks
networks by how well their blocks imitate the teacher's. There a block reads the teacher's features; here it reads
what the sub-network's own blocks before it give. Gradients end between blocks all the same, so that each is taught
by itself, but the blocks fit together: what is scored, and what finalists begin with, is the network that is
delivered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from evaluators.distill.features import as_map, pool
from evaluators.distill.matching import Layer, Layers, paired, trace_layers
from evaluators.distill.methods.layered import Compared, Comparison, StageMethod
from evaluators.supernet.supervision import Supervision
from spaces.space import Space
from spaces.supernet import SubNetwork, shareable
from understudy import ConfigError, TeacherError

if TYPE_CHECKING:
    from evaluators.tasks.task import Task
    from evaluators.teachers.teacher import Teacher

_LEAVE_OUT = "leave out --supervision blocks"


@dataclass(frozen=True)
class BlockWise(StageMethod):
    """What the stages of a sub-network learn from the teacher's, and its classifier from the teacher's answers.

    Stages are the last maps before each change of resolution (``matching``), those of the largest sub-network and
    of the teacher paired by relative depth. A stage's loss is the mean squared error between maps of one size,
    every channel normalised over the batch, after a 1 x 1 convolution that learns along and that no student keeps;
    ``weight`` is that of their sum. The answers are taught by ``SoftTargets(temperature, soft)``. Attaching it
    raises ``ConfigError`` where a network has fewer than two stages.
    """

    name: ClassVar[str] = "block-wise"
    weight: float = 10.0
    soft: float = 0.9

    def matched(self, student: Layers, teacher: Layers) -> list[tuple[Layer, Layer]]:
        """See ``LayerMethod.matched``."""
        return paired(stages_of(student, "space"), stages_of(teacher, "teacher"))

    def comparison(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Comparison:
        """See ``LayerMethod.comparison``."""
        return _Stages(student, teacher)


class FromBlocks(Supervision):
    """Every sub-network learns from the teacher, block by block, by a ``BlockWise`` lesson.

    A block ends with a stage; the last one also holds the classifier.
    """

    def gradients(self, sub_networks: Sequence[SubNetwork], ids: np.ndarray, view: int, progress: float) -> float:
        """See ``Supervision.gradients``."""
        teacher, targets = self._source(ids, view), self._targets_of(ids)
        layers, losses = self._distiller.student_layers, []
        for sub_network in sub_networks:
            student = self._signals(sub_network, ids, view, progress, layers, cut=layers[:-1])
            loss = self._distiller.loss(student, teacher, targets).total
            loss.backward()  # type: ignore[no-untyped-call]
            sub_network.hand_back()
            losses.append(loss.item())
        for parameter in self._distiller.parameters():
            assert parameter.grad is not None
            parameter.grad /= len(sub_networks)
        return losses[0]


def stages_of(layers: Layers, owner: str) -> tuple[Layer, ...]:
    """The stages that give maps of more than one place; raises ``ConfigError`` where they are fewer than two."""
    found = tuple(layer for layer in layers.stages if layer.side > 1)
    if len(found) < 2:
        raise ConfigError(
            f"block-wise supervision teaches stages of feature maps, of which the {owner} has {len(found)}, "
            f"and two are the least: {_LEAVE_OUT}"
        )
    return found


def check_features(teacher: Teacher) -> None:
    """Refuse a teacher that gives answers only; raises ``TeacherError``."""
    if teacher.module is None:
        raise TeacherError(
            f"block-wise supervision reads features of the teacher, but {teacher.name} is not a PyTorch module "
            f"and gives answers only: {_LEAVE_OUT}"
        )


def check_stages(space: Space, task: Task) -> None:
    """Refuse a space without two stages that its largest and smallest network have; raises ``ConfigError``, and
    ``SpaceError`` for a space without a supernet."""
    if task.tokens:
        raise ConfigError(f"block-wise supervision compares maps of images, and texts have none: {_LEAVE_OUT}")
    plain, owner = shareable(space), f"space {space.name}"
    largest = plain.largest()
    with torch.random.fork_rng(devices=[]):
        wide, narrow = plain.build(largest), plain.build(plain.smallest())
    images = task.batch("train", np.arange(1), plain.resolution(largest))
    held = dict(narrow.named_modules())
    for stage in stages_of(trace_layers(wide, images, owner), owner):
        if stage.name not in held:
            raise ConfigError(
                f"the stage {stage.name} of the largest student of {owner} is none of its smallest: {_LEAVE_OUT}"
            )


class _Stages(Comparison):
    """A convolution a stage from the widest student's channels to the teacher's, the first for a narrower one."""

    def __init__(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> None:
        super().__init__()
        pairs = [(as_map(ours), as_map(theirs)) for ours, theirs in zip(student, teacher, strict=True)]
        self.adapters = nn.ParameterList(
            nn.Conv2d(ours.shape[1], theirs.shape[1], 1, bias=False).weight for ours, theirs in pairs
        )

    def each(self, batch: Compared) -> list[Tensor]:
        """The loss of each stage, a scalar: 0 where all channels agree, 2 where none tells anything of another."""
        found = []
        for adapter, pair in zip(self.adapters, batch.pairs, strict=True):
            ours, theirs = map(as_map, pair)
            if ours.shape[1] > adapter.shape[1]:
                raise ConfigError(
                    f"a stage of this space has {ours.shape[1]} channels and only {adapter.shape[1]} in its "
                    f"largest student, with which block-wise supervision begins: {_LEAVE_OUT}"
                )
            side = min(*ours.shape[2:], *theirs.shape[2:])
            mapped = functional.conv2d(pool(ours, side), adapter[:, : ours.shape[1]])
            found.append(functional.mse_loss(_normalised(mapped), _normalised(pool(theirs, side))))
        return found

    def forward(self, batch: Compared) -> Tensor:
        return torch.stack(self.each(batch)).sum()


def _normalised(maps: Tensor) -> Tensor:
    """Each channel with mean 0 and variance 1 over the batch and its places."""
    return functional.batch_norm(maps, None, None, training=True)
