"""Outputs of named layers, captured by forward hooks."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from understudy import ConfigError


class FeatureCapture:
    """While entered, ``features`` holds each named layer's output of the network's latest forward pass.

    A layer that runs more than once in a pass keeps its last output. Gradients flow through what is captured.
    Raises ``ConfigError`` for a name that is no layer of the network, and in the forward pass for a layer
    whose output is not one tensor.
    """

    def __init__(self, network: nn.Module, layers: Iterable[str], owner: str = "network") -> None:
        self.features: dict[str, Tensor] = {}
        modules = {name: module for name, module in network.named_modules() if name}
        self._chosen = {name: _find(modules, name, owner) for name in layers}
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

    def _keep(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if not isinstance(output, Tensor):
                raise ConfigError(
                    f"layer {name!r} gives {type(output).__name__}, but a feature must be one tensor: "
                    "name a layer inside it"
                )
            self.features[name] = output

        return hook


def _find(modules: dict[str, nn.Module], name: str, owner: str) -> nn.Module:
    if name in modules:
        return modules[name]
    near = difflib.get_close_matches(name, modules, n=3, cutoff=0.3) or list(modules)[:3]
    raise ConfigError(f"the {owner} has no layer {name!r}: the nearest are {', '.join(near)}")
