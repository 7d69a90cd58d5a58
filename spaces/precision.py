"""Any space with one more choice for each part of its networks: 8-bit integers or float32."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from spaces.choice import Choice, Value
from spaces.space import Space, check_choice

if TYPE_CHECKING:
    from torch import nn

PREFIX = "bits."
INTEGER, FLOAT = 8, 32


class MixedPrecision(Space):
    """The networks of a space, with a choice ``bits.<part>`` (8 or 32) for each part that has convolutions.

    Parts are the network's own children, and those of its sequences (``stem``, ``stages.0``, ..., ``head``). The
    network is built as the space builds it; who compiles and teaches it reads the choice (``group_of``).
    """

    def __init__(self, inner: Space) -> None:
        self.name, self.resolutions, self._inner = inner.name, inner.resolutions, inner
        with torch.random.fork_rng(devices=[]):
            parts = _parts(inner.build(inner.smallest()))
        self.domain = {**inner.domain, **{f"{PREFIX}{part}": (INTEGER, FLOAT) for part in parts}}

    def build(self, choice: Mapping[str, Value]) -> nn.Module:
        return self._inner.build(self._architecture(choice))

    def resolution(self, choice: Mapping[str, Value]) -> int:
        return self._inner.resolution(self._architecture(choice))

    def signature(self, choice: Mapping[str, Value]) -> str:
        bits = {name: value for name, value in check_choice(self, choice).items() if name.startswith(PREFIX)}
        text = json.dumps([self._inner.signature(self._architecture(choice)), bits], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def smallest(self) -> Choice:
        """That of the space, all in integers."""
        bits = {name: INTEGER for name in self.domain if name.startswith(PREFIX)}
        return Choice({**self._inner.smallest(), **bits})

    def _architecture(self, choice: Mapping[str, Value]) -> Choice:
        checked = check_choice(self, choice)
        return Choice({name: value for name, value in checked.items() if name in self._inner.domain})


def group_of(layer: str, choice: Mapping[str, Value]) -> str | None:
    """The name of the choice that a layer's precision follows; None where nothing was chosen."""
    parts = layer.split(".")
    names = (PREFIX + ".".join(parts[:count]) for count in range(len(parts), 0, -1))
    return next((name for name in names if name in choice), None)


def _parts(network: nn.Module) -> list[str]:
    """Names of the parts with convolutions or dense layers."""
    from torch import nn

    found = []
    for name, child in network.named_children():
        inside = [(f"{name}.{own}", part) for own, part in child.named_children()]
        listed = isinstance(child, nn.Sequential | nn.ModuleList) and all(any(p.children()) for _, p in inside)
        found += inside if listed and inside else [(name, child)]
    return [name for name, part in found if _may_hold_layers(part)]


def _may_hold_layers(part: nn.Module) -> bool:
    """Whether a part has layers, or is a list that is empty in the smallest student only."""
    from torch import nn

    empty = isinstance(part, nn.Sequential | nn.ModuleList) and not len(part)
    return empty or any(isinstance(module, nn.Conv2d | nn.Linear) for module in part.modules())
