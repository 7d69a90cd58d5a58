"""Images from a teacher alone."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from evaluators.datafree.generator import Generator, Rival, codes
from evaluators.datafree.statistics import NormStatistics, batch_norms
from evaluators.distill.trainer import seeded
from evaluators.teachers.teacher import Teacher
from understudy import ConfigError, TeacherError, TrainError

Method = Literal["generator", "inversion"]
METHODS: tuple[Method, ...] = ("generator", "inversion")
SHIFT = 2
"""Pixels that an image is rolled by at most before the teacher sees it, so that no pixel matters by its place."""


@dataclass(frozen=True)
class Recipe:
    """How images are made.

    ``generator``: a generator whose images are kept in a bank, met by a rival student that learns from that bank
    (CMI; Fang et al., IJCAI 2021), with the common start of every batch learnt by Reptile so that few steps are
    enough (Fast; Fang et al., AAAI 2022). ``inversion``: each pixel is optimised by itself (DeepInversion; Yin et
    al., CVPR 2020), which needs a teacher with batch norm and many more steps.

    A batch of ``batch`` images takes ``steps`` steps. The loss is cross entropy towards drawn classes, plus
    ``norm`` times the distance of batch norm statistics, plus ``adversary`` times the agreement of the rival with
    the teacher, plus, of an inversion, ``smooth`` times the mean squared difference of neighbouring pixels.
    """

    method: Method = "generator"
    batch: int = 128
    steps: int = 20
    rate: float = 4e-3
    norm: float = 1.0
    adversary: float = 0.5
    smooth: float = 0.0
    lesson: int = 20

    @staticmethod
    def of(method: str) -> Recipe:
        """The recipe of a method by name; raises ``ConfigError`` for an unknown one."""
        if method == "generator":
            return Recipe()
        if method == "inversion":
            return Recipe("inversion", steps=150, rate=0.1, smooth=2.0, adversary=0.0)
        raise ConfigError(f"images are made by one of {', '.join(METHODS)}, but got {method!r}")


@dataclass
class Bank:
    """The images so far, (N, C, R, R) in 0..1, and the teacher's logits of them."""

    images: list[Tensor] = field(default_factory=list)
    logits: list[Tensor] = field(default_factory=list)

    def add(self, images: Tensor, logits: Tensor) -> None:
        """Keep a batch."""
        self.images.append(images)
        self.logits.append(logits)

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Some of them."""
        size = len(self.images[0])
        rows = torch.randperm(size * len(self.images), generator=generator)[:count].tolist()
        images, logits = (
            torch.stack([batches[row // size][row % size] for row in rows])
            for batches in (self.images, self.logits)
        )
        return images, logits


def synthesise(
    teacher: Teacher, channels: int, size: int, recipe: Recipe, seed: int, bank: Bank
) -> Iterator[Tensor]:
    """Batches of images (``batch``, channels, size, size) in 0..1, without end; each is first added to ``bank``.

    A ``bank`` with batches goes on after them. Raises ``TeacherError`` for a teacher that is no torch network, and
    for one without batch norm where the recipe is an inversion.
    """
    network = _network(teacher, recipe)
    with seeded(seed):
        generator, rival = Generator(channels, size), Rival(channels, teacher.classes)
    optimiser = torch.optim.Adam(rival.parameters(), 1e-2)
    if len(bank.images):  # a rival is soon taught again what it knew before an interruption
        _teach(rival, optimiser, bank, recipe, 3 * recipe.lesson, seed)
    number = len(bank.images)
    while True:
        draws = torch.Generator().manual_seed(hash((seed, number)) % 2**31)
        with NormStatistics(network) as statistics:
            images = _batch(teacher, network, statistics, generator, rival, recipe, draws, channels, size)
        images = (images * 255).round() / 255
        bank.add(images, teacher.logits(images))
        if recipe.adversary:
            _teach(rival, optimiser, bank, recipe, recipe.lesson, seed + number)
        number += 1
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


def _batch(
    teacher: Teacher,
    network: nn.Module,
    statistics: NormStatistics,
    generator: Generator,
    rival: nn.Module,
    recipe: Recipe,
    draws: torch.Generator,
    channels: int,
    size: int,
) -> Tensor:
    """One batch, every class as often as others; the generator moves towards what was best for it."""
    wanted = torch.arange(recipe.batch)[torch.randperm(recipe.batch, generator=draws)] % teacher.classes
    made: nn.Module
    if recipe.method == "inversion":
        start = torch.randn(recipe.batch, channels, size, size, generator=draws).requires_grad_()
        parameters = [start]
    else:
        start = codes(recipe.batch, draws).requires_grad_()
        made = copy.deepcopy(generator)
        parameters = [start, *made.parameters()]
    optimiser = torch.optim.Adam(parameters, recipe.rate, betas=(0.5, 0.99))
    rival.eval().requires_grad_(False)
    best, least = torch.empty(0), float("inf")
    for _ in range(recipe.steps):
        images = start.sigmoid() if recipe.method == "inversion" else made(start)
        loss = _loss(images, wanted, network, statistics, rival, recipe, draws)
        if loss.item() < least:
            best, least = images.detach(), loss.item()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    if not math.isfinite(loss.item()):
        raise TrainError(
            f"making images from teacher {teacher.name} diverged: check its weights, --input-mean and --input-std"
        )
    if recipe.method == "generator":
        _follow(generator, made)
    return best


def _loss(
    images: Tensor,
    wanted: Tensor,
    network: nn.Module,
    statistics: NormStatistics,
    rival: nn.Module,
    recipe: Recipe,
    draws: torch.Generator,
) -> Tensor:
    shift = torch.randint(-SHIFT, SHIFT + 1, (2,), generator=draws).tolist()
    seen = images.roll(shift, (2, 3))
    logits = network(seen)
    loss = functional.cross_entropy(logits, wanted) + recipe.norm * statistics.distance()
    if recipe.adversary:
        sure = (logits.argmax(1) == wanted).to(logits.dtype)
        soft, target = functional.log_softmax(rival(seen), dim=1), functional.log_softmax(logits, dim=1)
        apart = functional.kl_div(soft, target, reduction="none", log_target=True).sum(1)
        loss = loss - recipe.adversary * (apart.clamp(max=5) * sure).mean()
    if recipe.smooth:
        rough = (images[:, :, 1:] - images[:, :, :-1]).square().mean()
        loss = loss + recipe.smooth * (rough + (images[..., 1:] - images[..., :-1]).square().mean())
    return loss


def _follow(generator: nn.Module, made: nn.Module, share: float = 0.5) -> None:
    """Reptile: the common start moves a part of the way to what a batch came to (Nichol et al., 2018)."""
    with torch.no_grad():
        for common, own in zip(generator.state_dict().values(), made.state_dict().values(), strict=True):
            if common.is_floating_point():
                common.lerp_(own, share)


def _teach(
    rival: nn.Module, optimiser: torch.optim.Optimizer, bank: Bank, recipe: Recipe, steps: int, seed: int
) -> None:
    """The rival learns the teacher's answers to images of the bank."""
    rival.train().requires_grad_(True)
    draws = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        images, logits = bank.draw(recipe.batch, draws)
        soft, target = functional.log_softmax(rival(images), dim=1), functional.log_softmax(logits, dim=1)
        loss = functional.kl_div(soft, target, reduction="batchmean", log_target=True)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
