"""What a teacher remembers of its training images: the statistics of its batch norms."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

_KINDS = (nn.BatchNorm1d, nn.BatchNorm2d)


def batch_norms(network: nn.Module) -> list[nn.Module]:
    """The network's batch norms that keep statistics."""
    return [
        module for module in network.modules() if isinstance(module, _KINDS) and module.running_mean is not None
    ]


class NormStatistics:
    """While entered, ``distance`` says how far the latest batch is from what the network was taught with.

    The sum over batch norms of the distances between the batch's mean and variance by channel and the stored ones
    (DeepInversion; Yin et al., CVPR 2020), a scalar tensor with a gradient; zero for a network without batch norm.
    """

    def __init__(self, network: nn.Module) -> None:
        self._norms = batch_norms(network)
        self._handles: list[RemovableHandle] = []
        self._distances: list[Tensor] = []

    def __enter__(self) -> NormStatistics:
        self._handles = [module.register_forward_pre_hook(self._measure) for module in self._norms]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self._distances = []

    def distance(self) -> Tensor:
        """Of the latest forward pass, which it forgets."""
        found, self._distances = self._distances, []
        return torch.stack(found).sum() if found else torch.zeros(())

    def _measure(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        features = inputs[0].transpose(0, 1).flatten(1)
        mean, variance = features.mean(1), features.var(1, unbiased=False)
        stored: tuple[Tensor, Tensor] = module.running_mean, module.running_var  # type: ignore[assignment]
        self._distances.append((mean - stored[0]).norm() + (variance - stored[1]).norm())
