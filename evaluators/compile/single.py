"""Networks of half precision as networks that compute in single precision.

Weights keep the values that half precision gave them; sums and activations are more exact than the network's own.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

HALF = (torch.float16, torch.bfloat16)


class InSingle(nn.Module):
    """A network of half precision computed in single precision; what was float16 outside stays so.

    bfloat16 outputs become float32, because numpy has no such type.
    """

    def __init__(self, network: nn.Module, outputs: list[torch.dtype | None]) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).float()
        self.outputs = outputs

    def forward(self, *inputs: Tensor) -> Any:
        """The network's answer for inputs of float16, float32 or whole numbers."""
        wide = (x.float() if x.dtype in HALF else x for x in inputs)
        leaves, form = tree_flatten(self.network(*wide))
        typed = (
            leaf.half() if dtype == torch.float16 else leaf
            for leaf, dtype in zip(leaves, self.outputs, strict=True)
        )
        return tree_unflatten(list(typed), form)


def in_single(network: nn.Module, example: tuple[Tensor, ...]) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The network and its example, with single precision instead of half; as they are without any half."""
    tensors = [*network.parameters(), *network.buffers(), *example]
    if not any(tensor.dtype in HALF for tensor in tensors):
        return network, example
    training = network.training
    network.eval()
    try:
        with torch.no_grad():
            answer = network(*example)
    finally:
        network.train(training)
    outputs = [leaf.dtype if isinstance(leaf, Tensor) else None for leaf in tree_flatten(answer)[0]]
    return InSingle(network, outputs), tuple(x.float() if x.dtype == torch.bfloat16 else x for x in example)
