"""Teaching a supernet by the sandwich rule: the largest sub-network is taught by the teacher and teaches the rest.

In each step the largest sub-network, the smallest and some drawn at random learn from the same batch (Yu and
Huang, 2019, universally slimmable networks, arXiv:1903.05134; BigNAS). The largest learns by the chosen method;
the others from the mean of its answers and the teacher's, softened.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from evaluators.distill.depthwise import quick_depthwise
from evaluators.distill.distiller import Distiller
from evaluators.distill.evaluate import Guard
from evaluators.distill.features import FeatureCapture
from evaluators.distill.layout import lay_out
from evaluators.distill.methods.response import SoftTargets
from evaluators.distill.schedule import Schedule
from evaluators.distill.signals import Signals
from evaluators.distill.steps import MAX_GRADIENT_NORM, labelled_batches, make_optimiser
from evaluators.distill.teacher_outputs import TeacherOutputs
from evaluators.distill.teacher_signals import check_teacher, teacher_signals
from evaluators.distill.trainer import seeded
from evaluators.supernet.crew import Crew
from evaluators.tasks.task import UNLABELLED
from spaces.batch import single
from spaces.choice import Choice
from spaces.space import random_choice
from spaces.supernet import SubNetwork, Supernet, holders
from understudy import TrainError

if TYPE_CHECKING:
    from evaluators.tasks.task import Task
    from evaluators.teachers.teacher import Teacher

RANDOM = 2
"""Sub-networks a step beside the largest and the smallest, as in BigNAS."""
SAME = 4
"""Steps that the same random sub-networks stay: building one takes as long as a small step of it."""


@dataclass(frozen=True)
class Lesson:
    """What a supernet is taught with; the fields are those of ``train_student``."""

    task: Task
    distiller: Distiller
    outputs: TeacherOutputs | None
    teacher: Teacher | None
    schedule: Schedule
    seed: int
    device: str = "cpu"
    guard: Guard = nullcontext


class SupernetTraining:
    """The training of a supernet, an epoch at a time; entered, it is ready for ``epoch``.

    What an epoch does depends on the lesson, the crew and ``state`` alone, so that one that goes on from a kept
    state ends where an uninterrupted one does. Raises ``TrainError`` when loss or gradient stop being finite,
    ``ConfigError`` for a method that does not fit.
    """

    def __init__(self, supernet: Supernet, lesson: Lesson, crew: Crew | None = None) -> None:
        self._supernet, self._lesson, self._crew = supernet, lesson, crew or Crew()
        self._stack = ExitStack()
        targets = np.array(lesson.task.targets("train"))
        self._targets, self._labelled = torch.as_tensor(targets), targets != UNLABELLED
        self._holders: dict[nn.Parameter, Tensor] = {}
        self._largest, self._smallest = map(self._sub_network, (supernet.largest, supernet.smallest))

    def __enter__(self) -> SupernetTraining:
        lesson, largest = self._lesson, self._largest.network
        first = self._images(np.arange(min(2, lesson.task.size("train"))), self._supernet.largest, 0)
        with seeded(lesson.seed):
            check_teacher(lesson.distiller, lesson.teacher)
            distiller = lesson.distiller.attached(largest, lesson.teacher, first)
            self._source = teacher_signals(
                distiller, lesson.task, lesson.outputs, lesson.teacher, lesson.device, self._stack
            )
            layers = distiller.student_layers
            self._capture = self._stack.enter_context(FeatureCapture(largest, layers, "largest sub-network"))
            self._source.open(0, lesson.guard)
            ids = labelled_batches(np.arange(len(self._labelled)), self._labelled, 32, distiller.uses_teacher)[0]
            student = Signals(largest(self._images(ids, self._supernet.largest, 0)), self._capture.features)
            self._distiller = distiller.prepared(student, self._source(ids, 0))
        self._parameters = [*self._supernet.tensors.values(), *self._distiller.parameters()]
        self._optimiser = make_optimiser(self._parameters, lesson.schedule)
        if (
            lesson.schedule.optimiser == "sgd"
        ):  # steps touch some, then others: a fused one wants all buffers or none
            for parameter in self._parameters:
                self._optimiser.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def state(self) -> dict[str, Any]:
        """All that the epochs so far have changed: tensors and plain values only."""
        return {
            "tensors": {name: tensor.detach() for name, tensor in self._supernet.tensors.items()},
            "optimiser": self._optimiser.state_dict(),
            "distiller": self._distiller.state(),
        }

    def put_back(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state`` gave."""
        with torch.no_grad():
            for name, tensor in self._supernet.tensors.items():
                tensor.copy_(state["tensors"][name])
        self._optimiser.load_state_dict(state["optimiser"])
        self._distiller.put_back(state["distiller"])

    def epoch(self, epoch: int, on_step: Callable[[int, int], None] | None = None) -> float:
        """One pass over the training images, counted from 0; the mean loss of the largest sub-network.

        ``on_step`` is told steps done and in all.
        """
        schedule, draw = self._lesson.schedule, random.Random(f"{self._lesson.seed}:{epoch}")
        generator = np.random.default_rng([self._lesson.seed, epoch])
        order = generator.permutation(len(self._labelled))
        parts = labelled_batches(order, self._labelled, schedule.batch_size, self._distiller.uses_teacher)
        view, losses = schedule.view(epoch), []
        self._source.open(view, self._lesson.guard)
        others: list[SubNetwork] = []
        with seeded(int(generator.integers(2**62))):
            for number, ids in enumerate(parts):
                if number % SAME == 0:
                    others = self._drawn(draw)
                    self._holders = holders([self._largest, *others])
                loss, norm = self._step(ids, view, epoch + number / len(parts), others)
                if not math.isfinite(norm):
                    raise TrainError(
                        f"the supernet's training diverged in epoch {epoch + 1}, step {number + 1} of "
                        f"{len(parts)}: check the images and the teacher, or give it more epochs, of which the "
                        "first warms up slowly (--supernet-epochs)"
                    )
                losses.append(loss)
                if on_step is not None:
                    on_step(number + 1, len(parts))
        return float(np.mean(losses))

    def _drawn(self, draw: random.Random) -> list[SubNetwork]:
        """The smallest sub-network, and some at random."""
        with self._lesson.guard():
            choices = [random_choice(self._supernet.space, draw) for _ in range(RANDOM)]
            return [*map(self._sub_network, choices), self._smallest]

    def _sub_network(self, choice: Choice) -> SubNetwork:
        made = self._supernet.sub_network(choice)
        lay_out(made.network, self._images(np.arange(1), choice, 0))
        return made

    def _step(self, ids: np.ndarray, view: int, moment: float, others: list[SubNetwork]) -> tuple[float, float]:
        for group in self._optimiser.param_groups:
            group["lr"] = self._lesson.schedule.rate(moment)
        self._optimiser.zero_grad(set_to_none=True)
        with self._lesson.guard():
            loss = self._gradients(self._crew.share(ids), view, moment / self._lesson.schedule.epochs, others)
        touched = [parameter for parameter in self._parameters if parameter.grad is not None]
        self._crew.average([parameter.grad for parameter in touched if parameter.grad is not None])
        with self._lesson.guard():
            norm = nn.utils.clip_grad_norm_(touched, MAX_GRADIENT_NORM, foreach=True)
            self._optimiser.step()
        return loss, float(norm)

    def _gradients(self, ids: np.ndarray, view: int, progress: float, others: list[SubNetwork]) -> float:
        """Give each weight its mean gradient over those sub-networks of this step that hold it; the loss of the
        largest.

        So each steps as far as in plain training. By the sum, weights that all hold would step several times as
        far, which spoils narrow networks; by the mean over all, those of wide networks alone would lag behind.
        """
        largest, device = self._largest, self._lesson.device
        images = self._images(ids, self._supernet.largest, view)
        logits = self._logits(largest, images)
        teacher = self._source(ids, view)
        targets = self._targets[ids].to(device) if self._labelled[ids[0]] else None
        student = Signals(logits, self._capture.features, images, torch.from_numpy(ids), progress)
        loss = self._distiller.loss(student, teacher, targets).total
        loss.backward()  # type: ignore[no-untyped-call]
        largest.hand_back()
        answers = logits.detach()
        if self._distiller.uses_teacher:
            answers = (answers + teacher.logits) / 2
        for other in others:
            own = self._logits(other, self._images(ids, other.choice, view))
            SoftTargets().loss(Signals(own), Signals(answers), targets).total.backward()  # type: ignore[no-untyped-call]
            other.hand_back()
        for shared, count in self._holders.items():
            if shared.grad is not None:
                shared.grad /= count
        return loss.item()

    def _logits(self, sub_network: SubNetwork, images: Tensor) -> Tensor:
        sub_network.load()
        autocast = torch.autocast("cuda", torch.bfloat16, enabled=self._lesson.device.startswith("cuda"))
        with autocast, quick_depthwise(sub_network.network):
            logits: Tensor = sub_network.network(images)
        return logits.float()

    def _images(self, ids: np.ndarray, choice: Choice, view: int) -> Tensor:
        resolution = self._supernet.space.resolution(choice)
        return single(self._lesson.task.batch("train", ids, resolution, view)).to(self._lesson.device)
