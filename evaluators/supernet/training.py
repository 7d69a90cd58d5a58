"""Teaching a supernet by the sandwich rule: its largest sub-network, its smallest and some between in each step.

The largest, the smallest and some drawn at random learn from the same batch (Yu and Huang, 2019, universally
slimmable networks, arXiv:1903.05134; BigNAS). What they learn from it is their ``Supervision``.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from evaluators.distill.layout import lay_out
from evaluators.distill.steps import MAX_GRADIENT_NORM, make_optimiser
from evaluators.distill.trainer import seeded
from evaluators.supernet.blocks import BlockWise, FromBlocks
from evaluators.supernet.crew import Crew
from evaluators.supernet.lesson import Lesson
from evaluators.supernet.supervision import FromOutputs
from spaces.batch import moved
from spaces.choice import Choice
from spaces.space import random_choice
from spaces.supernet import SubNetwork, Supernet, holders
from understudy import TrainError

RANDOM = 2
"""Sub-networks a step beside the largest and the smallest, as in BigNAS."""
SAME = 4
"""Steps that the same random sub-networks stay: building one takes as long as a small step of it."""


class SupernetTraining:
    """The training of a supernet, an epoch at a time; entered, it is ready for ``epoch``.

    What an epoch does depends on the lesson, the crew and ``state`` alone, so that one that goes on from a kept
    state ends where an uninterrupted one does. Raises ``TrainError`` when loss or gradient stop being finite,
    ``ConfigError`` for a method that does not fit.
    """

    def __init__(self, supernet: Supernet, lesson: Lesson, crew: Crew | None = None) -> None:
        self._supernet, self._lesson, self._crew = supernet, lesson, crew or Crew()
        self._stack = ExitStack()
        self._holders: dict[nn.Parameter, Tensor] = {}
        self._largest, self._smallest = map(self._sub_network, (supernet.largest, supernet.smallest))

    def __enter__(self) -> SupernetTraining:
        lesson = self._lesson
        kind = FromBlocks if isinstance(lesson.distiller, BlockWise) else FromOutputs
        self._supervision = kind(lesson, self._supernet.space, self._largest, self._stack)
        self._parameters = [*self._supernet.tensors.values(), *self._supervision.parameters()]
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
            "distiller": self._supervision.state(),
        }

    def put_back(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state`` gave."""
        with torch.no_grad():
            for name, tensor in self._supernet.tensors.items():
                tensor.copy_(state["tensors"][name])
        self._optimiser.load_state_dict(state["optimiser"])
        self._supervision.put_back(state["distiller"])

    def epoch(self, epoch: int, on_step: Callable[[int, int], None] | None = None) -> float:
        """One pass over the training images, counted from 0; the mean loss of the largest sub-network.

        ``on_step`` is told steps done and in all.
        """
        schedule, draw = self._lesson.schedule, random.Random(f"{self._lesson.seed}:{epoch}")
        generator = np.random.default_rng([self._lesson.seed, epoch])
        order = generator.permutation(self._lesson.task.size("train"))
        parts = self._supervision.batches(order, schedule.batch_size)
        view, losses = schedule.view(epoch), []
        self._supervision.open(view)
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
        made, lesson = self._supernet.sub_network(choice), self._lesson
        first = lesson.task.batch("train", np.arange(1), self._supernet.space.resolution(choice))
        lay_out(made.network, moved(first, lesson.device))
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
        loss = self._supervision.gradients([self._largest, *others], ids, view, progress)
        for shared, count in self._holders.items():
            if shared.grad is not None:
                shared.grad /= count
        return loss
