"""Teaching on what the student itself writes, where it goes on with texts."""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from evaluators.distill.distiller import Distiller, Loss
from evaluators.distill.methods.outputs import check_share, task_loss
from evaluators.distill.signals import Signals
from evaluators.distill.teacher_signals import check_teacher
from spaces.batch import Batch, single
from spaces.decoder import Decoder
from spaces.language import decoder_of
from understudy import ConfigError

if TYPE_CHECKING:
    from evaluators.teachers.teacher import Teacher


@dataclass(frozen=True)
class Gkd(Distiller):
    """Generalised knowledge distillation, GKD (Agarwal et al., 2024, arXiv:2306.13649): on what students write,
    too.

    For a share ``on_policy`` of the batches the student goes on from the first half of each window, and teacher
    and student are compared on that; for the others on the text as it was written. They are compared by the
    generalised Jensen-Shannon divergence: ``beta`` 0 is KL(teacher || student), 1 is KL(student || teacher).
    The loss is ``weight * divergence + (1 - weight) * cross entropy`` of the text. Raises ``ConfigError``
    unless all are in 0..1.
    """

    name: ClassVar[str] = "gkd"
    maps: ClassVar[bool] = True
    only_maps: ClassVar[bool] = True
    only_texts: ClassVar[bool] = True
    on_policy: float = 0.5
    beta: float = 0.5
    weight: float = 0.5

    def __post_init__(self) -> None:
        for name in ("on_policy", "beta", "weight"):
            check_share(name, getattr(self, name))

    @property
    def needs_network(self) -> bool:
        """What a student writes has to be read by the teacher itself."""
        return True

    def attached(self, student: nn.Module, teacher: Teacher | None, images: Batch) -> Distiller:
        """See ``Distiller.attached``: the recipe with both networks."""
        check_teacher(self, teacher)
        decoder = decoder_of(student)
        if decoder is None:
            raise ConfigError(
                "gkd is for students that go on with texts (--space language): use another --distill"
            )
        assert teacher is not None
        assert teacher.module is not None
        return _Attached(self, student, decoder, teacher.module.eval().to(single(images).device))

    def loss(self, student: Signals, teacher: Signals, targets: Tensor | None) -> Loss:
        """See ``Distiller.loss``; on the text as it was written."""
        return self.weighed(student, jensen_shannon(student.logits, teacher.logits, self.beta), targets)

    def weighed(self, student: Signals, divergence: Tensor, targets: Tensor | None) -> Loss:
        """The loss with a divergence."""
        task = task_loss(student, targets)
        return Loss(self.weight * divergence + (1 - self.weight) * task, task, divergence)


class _Attached(Distiller):
    name: ClassVar[str] = Gkd.name
    maps: ClassVar[bool] = True

    def __init__(self, recipe: Gkd, student: nn.Module, decoder: Decoder, teacher: nn.Module) -> None:
        self._recipe, self._student, self._decoder, self._teacher = recipe, student, decoder, teacher

    def loss(self, student: Signals, teacher: Signals, targets: Tensor | None) -> Loss:
        assert student.images is not None
        if float(torch.rand(())) >= self._recipe.on_policy:
            return self._recipe.loss(student, teacher, targets)
        given = single(student.images)
        begun = given.shape[1] // 2
        ids = written(self._decoder, given, begun)
        with torch.no_grad():
            wanted = self._teacher(ids)[:, begun - 1 : -1].float().flatten(0, 1)
        ours = self._student(ids)[:, begun - 1 : -1].float().flatten(0, 1)
        return self._recipe.weighed(student, jensen_shannon(ours, wanted, self._recipe.beta), targets)


def jensen_shannon(student: Tensor, teacher: Tensor, beta: float) -> Tensor:
    """``beta * KL(teacher || mix) + (1 - beta) * KL(student || mix)``, the mix beta * teacher + (1 - beta) *
    student.

    Of logits (N, classes), the mean over N. For 0 and 1 it is what this comes to, over beta or 1 - beta, near
    them: KL(teacher || student) and KL(student || teacher).
    """
    ours, theirs = student.log_softmax(1), teacher.log_softmax(1)
    if beta in (0, 1):
        wanted, given = (theirs, ours) if beta == 0 else (ours, theirs)
        return _divergence(wanted, given)
    mix = torch.logaddexp(theirs + log(beta), ours + log(1 - beta))
    return beta * _divergence(theirs, mix) + (1 - beta) * _divergence(ours, mix)


def _divergence(wanted: Tensor, given: Tensor) -> Tensor:
    """KL(wanted || given) of logarithms of probabilities."""
    return (wanted.exp() * (wanted - given)).sum(1).mean()


@torch.no_grad()
def written(decoder: Decoder, ids: Tensor, begun: int) -> Tensor:
    """Windows (B, T) int64 which a decoder wrote from the place ``begun`` on, each token by its probability."""
    training = decoder.training
    decoder.eval()
    found = ids.clone()
    logits, cache = decoder.prefill(found, torch.tensor([begun - 1], device=ids.device))
    for place in range(begun, ids.shape[1]):
        found[:, place] = torch.multinomial(logits.float().softmax(1), 1)[:, 0]
        if place + 1 < ids.shape[1]:
            at = torch.tensor([place], device=ids.device)
            logits, cache[:, :, :, place] = decoder.step(found[:, place], at, cache)
    decoder.train(training)
    return found
