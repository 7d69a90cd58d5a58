"""Images from a teacher alone."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from evaluators.datafree.bank import Bank
from evaluators.datafree.generator import Generator, codes
from evaluators.datafree.objective import jittered, roughness, variety
from evaluators.datafree.rival import Rival
from evaluators.datafree.statistics import NormStatistics, batch_norms
from evaluators.distill.trainer import seeded
from evaluators.teachers.teacher import Teacher, resized
from understudy import ConfigError, TeacherError, TrainError

Method = Literal["generator", "inversion"]
METHODS: tuple[Method, ...] = ("generator", "inversion")
SETTLED = 0.5
"""The share of a generator's steps after which its images are kept."""
SAME = 4
"""Images of a class in a batch, at least, so that variety can be seen."""


@dataclass(frozen=True)
class Recipe:
    """How images are made, part by part.

    ``generator``: each part has a generator that begins anew where it enters (class and code to a few pixels), so
    that it finds other images than those before it, while its body goes on learning over the parts; it is met by a
    rival student that learns along and from the bank (DFAD; Fang et al., 2019; the bank: CMI; Fang et al., IJCAI
    2021). ``inversion``: each pixel is optimised by itself (DeepInversion; Yin et al., CVPR 2020), which needs a
    teacher with batch norm and many more steps.

    A part takes ``steps`` steps of about ``batch`` images, at ``rate`` falling along half a cosine; an inversion
    leaves the batch, a generator ``kept`` images of its last steps. The loss is cross entropy towards the classes
    (as many as a batch has room for, the next ones in the next part), plus ``norm`` times the distance of batch
    norm statistics, minus ``adversary`` times the rival's disagreement with the teacher, minus ``variety`` times
    the variety within classes, plus ``smooth`` times the roughness. The rival counts from step ``lesson`` of
    the first part on.
    """

    method: Method = "generator"
    batch: int = 128
    steps: int = 75
    rate: float = 4e-3
    norm: float = 1.0
    adversary: float = 0.5
    variety: float = 0.5
    smooth: float = 0.0
    kept: int = 320
    lesson: int = 30

    @staticmethod
    def of(method: str) -> Recipe:
        """The recipe of a method by name; raises ``ConfigError`` for an unknown one."""
        if method == "generator":
            return Recipe()
        if method == "inversion":
            return Recipe("inversion", steps=150, rate=0.1, smooth=2.0, adversary=0.0, variety=0.0)
        raise ConfigError(f"images are made by one of {', '.join(METHODS)}, but got {method!r}")


def synthesise(
    teacher: Teacher, channels: int, side: int, recipe: Recipe, seed: int, bank: Bank
) -> Iterator[Tensor]:
    """Parts of images, uint8 (n, channels, side, side), without end; each is first added to ``bank``.

    The teacher is shown them at its own resolution. A part depends on teacher, recipe, ``side``, ``seed``, its
    number and the parts before it alone, so a bank that was interrupted is gone on with as if it had not been.
    Raises ``TeacherError`` for a teacher that is no torch network, and for one without batch norm where the
    recipe is an inversion.
    """
    network = _network(teacher, recipe)
    while True:
        with NormStatistics(network) as statistics:
            aim = _Aim(teacher, network, statistics, recipe, len(bank))
            make = _inverted if recipe.method == "inversion" else _generated
            made, carried = make(aim, (channels, side), bank, hash((seed, len(bank))) % 2**31)
        images = (made * 255).round().to(torch.uint8)
        bank.add(images, teacher.logits(resized(images.float() / 255, teacher.resolution)), carried)
        yield images


def _network(teacher: Teacher, recipe: Recipe) -> nn.Module:
    if teacher.module is None:
        raise TeacherError(
            f"teacher {teacher.name} is not a PyTorch network, and images can only be made from one: name a .pt2 "
            "program, weights or a transformers model"
        )
    if recipe.method == "inversion" and not batch_norms(teacher.module):
        raise TeacherError(
            f"teacher {teacher.name} has no batch norm, whose statistics an inversion reads: use the generator"
        )
    return teacher.module.eval()


class _Aim:
    """What the images of one part are to be; ``wanted`` is the class of each row, ``together`` of them in turn."""

    def __init__(
        self, teacher: Teacher, network: nn.Module, statistics: NormStatistics, recipe: Recipe, number: int
    ) -> None:
        self._teacher, self._network, self._statistics, self.recipe = teacher, network, statistics, recipe
        self.together = min(teacher.classes, max(1, recipe.batch // SAME))
        self.turns = torch.arange(recipe.batch - recipe.batch % self.together) % self.together
        self.wanted = (number * self.together + self.turns) % teacher.classes
        self.classes = teacher.classes

    def loss(self, images: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Without the rival's term; the teacher is shown ``seen``, and its logits are returned too."""
        logits = self._network(resized(seen, self._teacher.resolution))
        loss = functional.cross_entropy(logits, self.wanted) + self.recipe.norm * self._statistics.distance()
        if self.recipe.variety:
            loss = loss - self.recipe.variety * variety(images, self.together)
        if self.recipe.smooth:
            loss = loss + self.recipe.smooth * roughness(images)
        return loss, logits

    def descend(self, optimiser: torch.optim.Optimizer, loss: Tensor, step: int) -> None:
        """One step down; raises ``TrainError`` where the loss is no number."""
        if not math.isfinite(loss.item()):
            raise TrainError(
                f"making images from teacher {self._teacher.name} diverged: check its weights, --input-mean and "
                "--input-std"
            )
        rate = self.recipe.rate * (0.05 + 0.475 * (1 + math.cos(math.pi * step / self.recipe.steps)))
        for group in optimiser.param_groups:
            group["lr"] = rate
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()


def _generated(aim: _Aim, shape: tuple[int, int], bank: Bank, seed: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Images (kept, C, R, R) in 0..1, of each of the last steps as many, and the weights that are left."""
    recipe, draws = aim.recipe, torch.Generator().manual_seed(seed)
    with seeded(seed):
        generator = Generator(*shape, aim.together)
    carried = bank.carried()
    if carried:
        generator.body.load_state_dict(_under(carried, "body."))
    known = _under(carried, "rival.")
    rival = Rival(shape[0], aim.classes, bank, batch=recipe.batch, seed=seed, known=known)
    optimiser = torch.optim.Adam(generator.parameters(), recipe.rate, betas=(0.5, 0.999))
    settled = int(SETTLED * recipe.steps)
    share = -(-recipe.kept // (recipe.steps - settled))
    found: list[Tensor] = []
    for step in range(recipe.steps):
        images = generator(codes(len(aim.turns), draws), aim.turns)
        loss, logits = aim.loss(images, images)
        if recipe.adversary and (carried or step >= recipe.lesson):
            loss = loss - recipe.adversary * rival.disagreement(images, logits)
        aim.descend(optimiser, loss, step)
        rival.learn(images.detach(), logits.detach())
        if step >= settled:
            found.append(images.detach()[torch.randperm(len(images), generator=draws)[:share]])
    every = torch.cat(found)
    left = {"body": generator.body.state_dict(), "rival": rival.state()}
    weights = {f"{part}.{name}": value for part, state in left.items() for name, value in state.items()}
    return every[torch.randperm(len(every), generator=draws)[: recipe.kept]], weights


def _under(weights: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def _inverted(aim: _Aim, shape: tuple[int, int], _: Bank, seed: int) -> tuple[Tensor, dict[str, Tensor]]:
    """A batch whose pixels were optimised, (batch, C, R, R) in 0..1; it leaves no weights."""
    draws = torch.Generator().manual_seed(seed)
    channels, size = shape
    pixels = torch.randn(len(aim.turns), channels, size, size, generator=draws).requires_grad_()
    optimiser = torch.optim.Adam([pixels], aim.recipe.rate, betas=(0.5, 0.99))
    for step in range(aim.recipe.steps):
        images = pixels.sigmoid()
        aim.descend(optimiser, aim.loss(images, jittered(images, draws))[0], step)
    return pixels.detach().sigmoid(), {}
