"""A network's layers replaced, in place, by ones that simulate 8-bit integers.

Nothing is traced: the network runs once on real images, and hooks see which module made the tensor that a layer
reads. That module's output is put on a grid (once for all its readers, a residual sum's among them); a tensor that
no module made gets its grid at the layer that reads it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from evaluators.quantise.grid import Grid
from evaluators.quantise.layers import QuantisedConv2d, QuantisedLayer, QuantisedLinear

_NORMALISATIONS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.LayerNorm, nn.GroupNorm)


def prepare(
    network: nn.Module, images: Tensor, weight_bits: int, wanted: Callable[[str], bool] = lambda name: True
) -> None:
    """Make the layers that are ``wanted`` by name ready to simulate integers; they do not until told to.

    ``images`` are a few real ones, (n, C, R, R) on the network's device. Convolutions of images and dense layers
    are taken, also in groups; what else has weights stays in float32 (``kept_in_float``). The names of all layers
    stay what they were.
    """
    flow = _watched(network, images)
    chosen = {
        name: (layer, flow.maker(network, name), flow.normalisation(network, name))
        for name, layer in network.named_modules()
        if _can(layer) and flow.calls[name] == 1 and wanted(name)
    }
    made: dict[_Key, Grid] = {}
    ready: dict[str, QuantisedLayer] = {}
    for name, (layer, maker, norm) in chosen.items():
        read = flow.read[name]
        ready[name] = simulated = _simulated(layer, weight_bits)
        if read not in made:
            made[read] = simulated.grid = Grid()
            if maker is not None:
                maker.register_forward_hook(_Onto(made[read]))
        simulated.reads, simulated.applies = (made[read],), maker is None
        simulated.norm = norm
    for name, simulated in ready.items():  # once all grids are in place: a maker may be replaced, too
        replace_layer(network, name, simulated.train(chosen[name][0].training))


def quantised_layers(network: nn.Module) -> dict[str, QuantisedLayer]:
    """The layers that simulate integers, or are ready to, by name; none in a network that was not prepared."""
    return {
        name: layer
        for name, layer in network.named_modules()
        if isinstance(layer, QuantisedConv2d | QuantisedLinear)
    }


def kept_in_float(network: nn.Module) -> tuple[str, ...]:
    """The layers with weights that stay in float32, as ``name (type)``; normalisations are not counted."""
    return tuple(
        f"{name} ({type(module).__name__})"
        for name, module in network.named_modules()
        if next(module.parameters(recurse=False), None) is not None
        and not isinstance(module, (QuantisedConv2d, QuantisedLinear, Grid, *_NORMALISATIONS))
    )


def grids(network: nn.Module) -> Iterator[Grid]:
    """The grids of a prepared network."""
    return (module for module in network.modules() if isinstance(module, Grid))


@dataclass(frozen=True)
class _Onto:
    """A forward hook that puts a module's output on a grid. (A copy of the network has copies of both.)"""

    grid: Grid

    def __call__(self, module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        return self.grid(output)  # type: ignore[no-any-return]


_Key = tuple[int, int]
"""A tensor, and how often it had been changed in place."""


def _key(tensor: Tensor) -> _Key:
    return id(tensor), tensor._version


@dataclass
class _Flow:
    """Which tensors (all are kept, so that no ``id`` comes twice) the modules read and made, in one pass."""

    kept: list[Tensor] = field(default_factory=list)
    makers: dict[_Key, list[tuple[int, str]]] = field(default_factory=dict)
    read: dict[str, _Key] = field(default_factory=dict)
    entered: dict[str, int] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
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
        readers = [name for name in same if _can(network.get_submodule(name))]
        first = min(self.entered[name] for name in readers)
        names = [name for moment, name in self.makers.get(tensor, []) if moment < first]
        return network.get_submodule(names[-1]) if names and self.calls[names[-1]] == 1 else None

    def normalisation(self, network: nn.Module, name: str) -> str | None:
        """The batch norm that reads what the layer of that name makes, and is the only layer to."""
        made = [tensor for tensor, makers in self.makers.items() if makers[0][1] == name]
        readers = [each for each, tensor in self.read.items() if tensor in made]
        leaves = [each for each in readers if not any(network.get_submodule(each).children())]
        if len(leaves) != 1 or self.calls[leaves[0]] != 1:
            return None
        norm = network.get_submodule(leaves[0])
        return (
            leaves[0] if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d) and norm.track_running_stats else None
        )


def _watched(network: nn.Module, images: Tensor) -> _Flow:
    flow = _Flow()
    training = network.training
    handles = []
    for name, module in network.named_modules():
        if name:
            handles.append(module.register_forward_pre_hook(lambda _, inputs, name=name: flow.enter(name, inputs)))
            handles.append(module.register_forward_hook(lambda _, __, output, name=name: flow.leave(name, output)))
    try:
        with torch.no_grad():
            network.eval()(images)
    finally:
        for handle in handles:
            handle.remove()
        network.train(training)
    return flow


def _can(layer: nn.Module) -> bool:
    """Whether it has an integer form here: it computes what torch's own layer does, for subclasses may not."""
    if isinstance(layer, nn.Conv2d):
        plain = layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
        own = (type(layer).forward, type(layer)._conv_forward)
        return plain and own == (nn.Conv2d.forward, nn.Conv2d._conv_forward)
    return isinstance(layer, nn.Linear) and type(layer).forward == nn.Linear.forward


def _simulated(layer: nn.Module, weight_bits: int) -> QuantisedLayer:
    if isinstance(layer, nn.Conv2d):
        return QuantisedConv2d(layer, weight_bits)
    assert isinstance(layer, nn.Linear)
    return QuantisedLinear(layer, weight_bits)


def replace_layer(network: nn.Module, name: str, made: nn.Module) -> None:
    """Put another module at the place of the one of that name; a grid on its output stays there."""
    parent, _, own = name.rpartition(".")
    made._forward_hooks = network.get_submodule(name)._forward_hooks
    setattr(network.get_submodule(parent), own, made)
