"""Outputs of named layers, captured by forward hooks, in the form that a method compares.

A layer is asked for as ``name`` (its output as it is) or as ``name@form``:

``name@N``
    the feature map averaged down to at most N x N, (B, C, n, n); for N = 1 the pooled embedding (B, C).
``name@attention``
    the mean square over the channels, (B, 1, H, W), scaled to unit length by sample (Zagoruyko, Komodakis, 2017).

Tokens (B, T, C) of a square of patches, with or without a class token, count as a map; (B, D) counts as 1 x 1.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Collection, Iterable
from types import TracebackType
from typing import Any

from torch import Tensor, nn
from torch.nn import functional
from torch.utils.hooks import RemovableHandle

from understudy import ConfigError

ATTENTION = "attention"


class FeatureCapture:
    """While entered, ``features`` holds each named layer's output of the network's latest forward pass.

    A layer that runs more than once in a pass keeps its last output. Gradients flow through what is captured, but
    none flow back into layers of ``cut`` from what follows them in the network.
    Raises ``ConfigError`` for a name that is no layer of the network, and in the forward pass for a layer
    whose output is not one tensor.
    """

    def __init__(
        self, network: nn.Module, layers: Iterable[str], owner: str = "network", *, cut: Collection[str] = ()
    ) -> None:
        self._cut = cut
        self.features: dict[str, Tensor] = {}
        self._chosen = {name: find_layer(network, name.partition("@")[0], owner) for name in layers}
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> FeatureCapture:
        self._handles = [module.register_forward_hook(self._keep(name)) for name, module in self._chosen.items()]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self.features.clear()

    def _keep(self, name: str) -> Callable[[nn.Module, Any, Any], Tensor | None]:
        layer, _, form = name.partition("@")

        def hook(module: nn.Module, inputs: Any, output: Any) -> Tensor | None:
            if not isinstance(output, Tensor):
                raise ConfigError(
                    f"layer {layer!r} gives {type(output).__name__}, but a feature must be one tensor: "
                    "name a layer inside it"
                )
            self.features[name] = in_form(output, form)
            return output.detach() if name in self._cut else None

        return hook


def find_layer(network: nn.Module, name: str, owner: str) -> nn.Module:
    """The layer of that name; raises ``ConfigError`` with the nearest names where there is none."""
    modules: dict[str, nn.Module] = {known: module for known, module in network.named_modules() if known}
    if name in modules:
        return modules[name]
    near = difflib.get_close_matches(name, modules, n=3, cutoff=0.3) or list(modules)[:3]
    raise ConfigError(f"the {owner} has no layer {name!r}: the nearest are {', '.join(near)}")


def in_form(output: Tensor, form: str) -> Tensor:
    """A layer's output in the form of its name (see the module), the output itself for the form ``""``."""
    if not form:
        return output
    if form == ATTENTION:
        energy = as_map(output).pow(2).mean(1, keepdim=True)
        return functional.normalize(energy.flatten(1), dim=1).view_as(energy)
    pooled = pool(as_map(output), int(form))
    return pooled.flatten(1) if form == "1" else pooled


def as_map(output: Tensor) -> Tensor:
    """Features as a map (B, C, H, W): maps as they are, tokens (B, T, C) by their places, (B, D) as 1 x 1."""
    if output.ndim == 3:
        side = token_side(output.shape[1])
        patches = output[:, output.shape[1] - side * side :]
        return patches.transpose(1, 2).reshape(len(output), -1, side, side)
    return output[:, :, None, None] if output.ndim == 2 else output


def token_side(tokens: int) -> int:
    """The side of the square of patches that so many tokens are, without the few that come before them."""
    return math.isqrt(tokens)


def pool(features: Tensor, side: int) -> Tensor:
    """A map (B, C, H, W) averaged down to ``side`` x ``side``; one that fits into that stays as it is."""
    if side == 1:
        return features.mean((2, 3), keepdim=True)
    if max(features.shape[2:]) <= side:
        return features
    return functional.adaptive_avg_pool2d(features, side)
