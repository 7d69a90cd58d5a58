"""What the sub-networks of a step learn from: the seam between the sandwich rule and block-wise supervision."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack

import numpy as np
import torch
from torch import Tensor, nn

from evaluators.distill.depthwise import quick_depthwise
from evaluators.distill.features import FeatureCapture
from evaluators.distill.methods.response import SoftTargets
from evaluators.distill.signals import Signals
from evaluators.distill.steps import labelled_batches
from evaluators.distill.teacher_signals import check_teacher, teacher_signals
from evaluators.distill.trainer import seeded
from evaluators.supernet.lesson import Lesson
from evaluators.tasks.task import UNLABELLED
from spaces.batch import single
from spaces.space import Space
from spaces.supernet import SubNetwork


class Supervision(ABC):
    """The losses of a step's sub-networks, and what learns along with them.

    ``largest`` is the sub-network that the lesson's method is attached to; what the teacher's signals need is
    let go when ``stack`` closes. Raises ``ConfigError`` or ``TeacherError`` for a method that does not fit.
    """

    def __init__(self, lesson: Lesson, space: Space, largest: SubNetwork, stack: ExitStack) -> None:
        self._lesson, self._space = lesson, space
        targets = np.array(lesson.task.targets("train"))
        self._targets, self._labelled = torch.as_tensor(targets), targets != UNLABELLED
        with seeded(lesson.seed):
            check_teacher(lesson.distiller, lesson.teacher)
            first = self._images(np.arange(min(2, len(targets))), largest, 0)
            self._distiller = lesson.distiller.attached(largest.network, lesson.teacher, first)
            self._source = teacher_signals(
                self._distiller, lesson.task, lesson.outputs, lesson.teacher, lesson.device, stack
            )
            self._source.open(0, lesson.guard)
            ids = self.batches(np.arange(len(targets)), 32)[0]
            student = self._signals(largest, ids, 0, 0.0, self._distiller.student_layers)
            self._distiller = self._distiller.prepared(student, self._source(ids, 0))

    @abstractmethod
    def gradients(self, sub_networks: Sequence[SubNetwork], ids: np.ndarray, view: int, progress: float) -> float:
        """Hand the gradients of one batch back to the shared tensors; the loss of the first, the largest.

        ``progress`` is the share of the training that is done, 0 to 1.
        """

    def batches(self, order: np.ndarray, size: int) -> list[np.ndarray]:
        """The training images in an epoch's order, in batches; see ``labelled_batches``."""
        return labelled_batches(order, self._labelled, size, self._distiller.uses_teacher)

    def open(self, view: int) -> None:
        """Make ready for an epoch on a view of the training images."""
        self._source.open(view, self._lesson.guard)

    def parameters(self) -> Iterable[nn.Parameter]:
        """What learns along with the shared tensors."""
        return self._distiller.parameters()

    def state(self) -> dict[str, Tensor]:
        """See ``Distiller.state``."""
        return self._distiller.state()

    def put_back(self, state: Mapping[str, Tensor]) -> None:
        """See ``Distiller.put_back``."""
        self._distiller.put_back(state)

    def _signals(
        self,
        sub_network: SubNetwork,
        ids: np.ndarray,
        view: int,
        progress: float,
        layers: Sequence[str] = (),
        cut: Sequence[str] = (),
    ) -> Signals:
        """One pass of a sub-network with the shared weights, and the features of its layers (``cut`` as there)."""
        sub_network.load()
        images = self._images(ids, sub_network, view)
        autocast = torch.autocast("cuda", torch.bfloat16, enabled=self._lesson.device.startswith("cuda"))
        with FeatureCapture(sub_network.network, layers, "supernet's part", cut=cut) as capture:
            with autocast, quick_depthwise(sub_network.network):
                logits: Tensor = sub_network.network(images)
            return Signals(logits.float(), dict(capture.features), images, torch.from_numpy(ids), progress)

    def _targets_of(self, ids: np.ndarray) -> Tensor | None:
        return self._targets[ids].to(self._lesson.device) if self._labelled[ids[0]] else None

    def _images(self, ids: np.ndarray, sub_network: SubNetwork, view: int) -> Tensor:
        resolution = self._space.resolution(sub_network.choice)
        return single(self._lesson.task.batch("train", ids, resolution, view)).to(self._lesson.device)


class FromOutputs(Supervision):
    """The largest sub-network learns by the chosen method; the others from the mean of its answers and the
    teacher's, softened (in-place distillation; Yu and Huang, 2019, arXiv:1903.05134)."""

    def gradients(self, sub_networks: Sequence[SubNetwork], ids: np.ndarray, view: int, progress: float) -> float:
        """See ``Supervision.gradients``."""
        largest, *others = sub_networks
        student = self._signals(largest, ids, view, progress, self._distiller.student_layers)
        teacher, targets = self._source(ids, view), self._targets_of(ids)
        loss = self._distiller.loss(student, teacher, targets).total
        loss.backward()  # type: ignore[no-untyped-call]
        largest.hand_back()
        answers = student.logits.detach()
        if self._distiller.uses_teacher:
            answers = (answers + teacher.logits) / 2
        for other in others:
            own = self._signals(other, ids, view, progress)
            SoftTargets().loss(own, Signals(answers), targets).total.backward()  # type: ignore[no-untyped-call]
            other.hand_back()
        return loss.item()
