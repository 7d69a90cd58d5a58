"""How a network's weights lie in memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def lay_out(network: nn.Module, images: Tensor) -> None:
    """Lay the weights out channels last, which makes a step on a CPU about twice as fast.

    A network that flattens feature maps with ``view`` cannot take it, and keeps its layout.
    """
    training = network.training
    network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    try:
        with torch.no_grad():
            network(images)
    except RuntimeError:
        network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    network.train(training)
