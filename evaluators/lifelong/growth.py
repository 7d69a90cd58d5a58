"""A trained student with room for more classes."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from understudy import SpaceError


def grow(network: nn.Module, former: Mapping[str, Tensor], known: int, classes: int) -> None:
    """Fill ``network``, of ``classes`` outputs, with the weights of the same student with ``known`` outputs.

    The rows of the classifier for the new classes keep what they were initialised with. Raises ``SpaceError``
    when the two differ in more than the number of outputs.
    """
    state = network.state_dict()
    if state.keys() != former.keys():
        raise SpaceError(f"the student cannot get more classes: {_unlike(state, former)} is not in both networks")
    for name, weight in state.items():
        before = former[name]
        if before.shape == weight.shape:
            weight.copy_(before)
        elif (before.shape[:1], weight.shape[:1]) == ((known,), (classes,)) and before[0].shape == weight[0].shape:
            with torch.no_grad():
                weight[:known].copy_(before)
        else:
            raise SpaceError(
                f"the student cannot get more classes: its {name} would go from {tuple(before.shape)} to "
                f"{tuple(weight.shape)}, which is more than rows of a classifier"
            )


def _unlike(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> str:
    return sorted(one.keys() ^ other.keys())[0]
