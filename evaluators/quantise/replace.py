"""One layer of a network put in the place of another."""

from __future__ import annotations

from torch import nn


def replace_layer(network: nn.Module, name: str, made: nn.Module) -> None:
    """Put another module at the place of the one of that name; hooks on its output stay there."""
    parent, _, own = name.rpartition(".")
    made._forward_hooks = network.get_submodule(name)._forward_hooks
    setattr(network.get_submodule(parent), own, made)
