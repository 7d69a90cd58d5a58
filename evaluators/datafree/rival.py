"""A small student that learns alongside: where it disagrees with the teacher, images are worth most."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from evaluators.datafree.bank import Bank
from evaluators.distill.trainer import seeded


class Rival:
    """It starts from ``seed``, or goes on from the weights that ``state`` gave after an earlier part."""

    def __init__(
        self, channels: int, classes: int, bank: Bank, *, batch: int, seed: int, known: Mapping[str, Tensor]
    ) -> None:
        with seeded(seed):
            self._network = _network(channels, classes)
        if known:
            self._network.load_state_dict(known)
        self._optimiser = torch.optim.Adam(self._network.parameters(), 2e-3)
        self._bank, self._batch = bank, batch
        self._draws = torch.Generator().manual_seed(seed)

    def state(self) -> dict[str, Tensor]:
        """Its weights."""
        return self._network.state_dict()

    def disagreement(self, images: Tensor, logits: Tensor) -> Tensor:
        """Mean distance, 0 to 2, of its class probabilities from the teacher's; a gradient reaches both's images.

        The absolute difference, whose gradient does not fade where they nearly agree (DFAD; Fang et al., 2019).
        """
        with _judging(self._network):
            own = self._network(images).softmax(1)
        apart: Tensor = (logits.softmax(1) - own).abs().sum(1)
        return apart.mean()

    def learn(self, images: Tensor, logits: Tensor) -> None:
        """A step on these images and one on some of the bank's."""
        self._learn(images, logits)
        if len(self._bank):
            self._learn(*self._bank.draw(self._batch, self._draws))

    def _learn(self, images: Tensor, logits: Tensor) -> None:
        soft, target = self._network(images).log_softmax(1), logits.log_softmax(1)
        loss = functional.kl_div(soft, target, reduction="batchmean", log_target=True)
        self._optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()


@contextmanager
def _judging(network: nn.Module) -> Iterator[None]:
    network.eval().requires_grad_(False)
    yield
    network.train().requires_grad_(True)


def _network(channels: int, classes: int, width: int = 24) -> nn.Module:
    return nn.Sequential(
        *_layer(channels, width, 2),
        *_layer(width, 2 * width, 2),
        *_layer(2 * width, 2 * width, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(2 * width, classes),
    )


def _layer(before: int, after: int, stride: int) -> list[nn.Module]:
    return [nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
