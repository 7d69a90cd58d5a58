"""Who reads and who makes the tensors of a network, as seen in one pass over real images."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from evaluators.quantise.layers import has_integer_form

Key = tuple[int, int]
"""A tensor, and how often it had been changed in place."""


def _key(tensor: Tensor) -> Key:
    return id(tensor), tensor._version


@dataclass
class Flow:
    """Which tensors (all are kept, so that no ``id`` comes twice) the modules read and made, in one pass.

    ``operations`` counts the tensor operations that read each, inside modules and between them.
    """

    kept: list[Tensor] = field(default_factory=list)
    makers: dict[Key, list[tuple[int, str]]] = field(default_factory=dict)
    read: dict[str, Key] = field(default_factory=dict)
    entered: dict[str, int] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    operations: Counter[Key] = field(default_factory=Counter)
    moment: int = 0

    def enter(self, name: str, inputs: Any) -> None:
        self.moment += 1
        if inputs and isinstance(inputs[0], Tensor):
            self.kept.append(inputs[0])
            self.read[name], self.entered[name] = _key(inputs[0]), self.moment
            self.calls[name] += 1

    def leave(self, name: str, output: Any) -> None:
        self.moment += 1
        if isinstance(output, Tensor):
            self.kept.append(output)
            self.makers.setdefault(_key(output), []).append((self.moment, name))

    def maker(self, network: nn.Module, reader: str) -> nn.Module | None:
        """What was the last to return the tensor before a layer read it; None where that ran twice."""
        tensor = self.read[reader]
        same = (name for name, read in self.read.items() if read == tensor)
        readers = [name for name in same if has_integer_form(network.get_submodule(name))]
        first = min(self.entered[name] for name in readers)
        names = [name for moment, name in self.makers.get(tensor, []) if moment < first]
        return network.get_submodule(names[-1]) if names and self.calls[names[-1]] == 1 else None

    def normalisation(self, network: nn.Module, name: str) -> str | None:
        """The batch norm that reads what the layer of that name makes, where nothing else reads that.

        None, too, where a sum or another operation between the layers does: it wants the layer's own output, which
        is gone once the norm is in its scales.
        """
        made = [tensor for tensor, makers in self.makers.items() if makers[0][1] == name]
        readers = [each for each, tensor in self.read.items() if tensor in made]
        leaves = [each for each in readers if not any(network.get_submodule(each).children())]
        if len(leaves) != 1 or self.calls[leaves[0]] != 1 or sum(self.operations[each] for each in made) != 1:
            return None
        norm = network.get_submodule(leaves[0])
        return (
            leaves[0] if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d) and norm.track_running_stats else None
        )


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what operations read while it is entered."""

    def __init__(self, flow: Flow) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._flow = flow

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        read = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        self._flow.kept += read
        self._flow.operations.update(map(_key, read))
        return operation(*args, **(kwargs or {}))


def watched(network: nn.Module, images: Tensor) -> Flow:
    """One pass of a network over real images, (n, C, R, R) on its device."""
    flow = Flow()
    training = network.training
    handles = []
    for name, module in network.named_modules():
        if name:
            handles.append(module.register_forward_pre_hook(lambda _, inputs, name=name: flow.enter(name, inputs)))
            handles.append(module.register_forward_hook(lambda _, __, output, name=name: flow.leave(name, output)))
    try:
        with torch.no_grad(), _Operations(flow):
            network.eval()(images)
    finally:
        for handle in handles:
            handle.remove()
        network.train(training)
    return flow
