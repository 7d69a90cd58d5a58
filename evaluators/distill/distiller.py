"""The seam of teaching: from the signals of student and teacher to a loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor, nn

from evaluators.distill.signals import Signals
from spaces.batch import Batch

if TYPE_CHECKING:
    from evaluators.teachers.teacher import Teacher


@dataclass(frozen=True)
class Loss:
    """A step's loss, each a scalar tensor.

    ``total`` is what is minimised; ``task`` is the unweighted loss against the labels and ``distillation``
    the unweighted loss against the teacher (zero where a distiller has none).
    """

    total: Tensor
    task: Tensor
    distillation: Tensor


class Distiller(ABC):
    """A way of teaching.

    ``student_layers`` and ``teacher_layers`` name the layers whose outputs ``loss`` wants in
    ``Signals.features``. ``uses_teacher`` is False for a distiller that learns from labels alone; it is handed
    ``Signals.none()`` for the teacher. One that names no teacher layers is served from the stored
    ``TeacherOutputs`` and never meets the teacher itself. With ``maps`` it also teaches networks whose answers are
    maps, of which each place is a sample to it (``evaluators.distill.places``), with ``only_maps`` no others; with
    ``only_texts`` it teaches networks that take texts and nothing else, with ``only_graphs`` of a graph's nodes.
    """

    name: ClassVar[str]
    uses_teacher: ClassVar[bool] = True
    maps: ClassVar[bool] = False
    only_maps: ClassVar[bool] = False
    only_texts: ClassVar[bool] = False
    only_graphs: ClassVar[bool] = False
    student_layers: tuple[str, ...] = ()
    teacher_layers: tuple[str, ...] = ()

    @property
    def needs_network(self) -> bool:
        """Whether ``attached`` must be given the teacher itself, as a torch network.

        A method that matches layers by itself says yes before it names any.
        """
        return bool(self.teacher_layers)

    def attached(self, student: nn.Module, teacher: Teacher | None, images: Batch) -> Distiller:
        """The distiller for these two networks; called once, before the training and before any layer is read.

        A method that matches layers by itself, or that needs the student's architecture (a peer to learn with,
        a running average of its weights), returns a new distiller that knows them. ``images`` is one batch as
        the student gets it, (B, C, R, R) normalised; ``teacher`` is None where there is no live one. The default
        is the distiller itself. Raises ``ConfigError`` for networks that the method does not fit.
        """
        return self

    def prepared(self, student: Signals, teacher: Signals) -> Distiller:
        """The distiller for one training, given both networks' signals on a first batch.

        A method that learns parts of its own (an adapter between features of different shapes, as in FitNets)
        returns a new distiller that holds them; the default is the distiller itself.
        """
        return self

    def parameters(self) -> Iterable[nn.Parameter]:
        """The distiller's own trainable parameters, trained along with the student's."""
        return ()

    def state(self) -> dict[str, Tensor]:
        """All that one training changes in the distiller, so that it can be paused; by default the parameters."""
        return {str(number): value.detach() for number, value in enumerate(self.parameters())}

    def put_back(self, state: Mapping[str, Tensor]) -> None:
        """Take over, in place, what ``state`` gave of the same training."""
        for number, value in enumerate(self.parameters()):
            value.detach().copy_(state[str(number)])

    @abstractmethod
    def loss(self, student: Signals, teacher: Signals, targets: Tensor | None) -> Loss:
        """The loss of one batch.

        ``targets`` is int64 (B,), or None for data without labels. Raises ``TrainError`` where the method
        cannot do without them.
        """
