"""A network's layers replaced, in place, by ones that simulate 8-bit integers.

Nothing is traced: the network runs once on real images, and what is seen (``flow.py``) says which module made the
tensor that a layer reads. That module's output is put on a grid (once for all its readers, a residual sum's among
them); a tensor that no module made gets its grid at the layer that reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from evaluators.quantise.flow import Key, watched
from evaluators.quantise.grid import Grid
from evaluators.quantise.layers import QuantisedConv2d, QuantisedLayer, QuantisedLinear, has_integer_form
from evaluators.quantise.replace import replace_layer
from evaluators.quantise.weights import RoundedEmbedding, RoundedLayer, RoundedLinear

_NORMALISATIONS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.LayerNorm, nn.GroupNorm)
_PREPARED = (QuantisedConv2d, QuantisedLinear, RoundedLinear, RoundedEmbedding)


def prepare(
    network: nn.Module, images: Tensor, weight_bits: int, wanted: Callable[[str], bool] = lambda name: True
) -> None:
    """Make the layers that are ``wanted`` by name ready to simulate integers; they do not until told to.

    ``images`` are a few real ones, (n, C, R, R) on the network's device. Convolutions of images and dense layers
    are taken, also in groups; what else has weights stays in float32 (``kept_in_float``). The names of all layers
    stay what they were.
    """
    flow = watched(network, images)
    chosen = {
        name: (layer, flow.maker(network, name), flow.normalisation(network, name))
        for name, layer in network.named_modules()
        if has_integer_form(layer) and flow.calls[name] == 1 and wanted(name)
    }
    made: dict[Key, Grid] = {}
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


def quantised_layers(network: nn.Module) -> dict[str, QuantisedLayer | RoundedLayer]:
    """The layers that simulate integers, or round their weights, or are ready to, by name.

    None in a network that was not prepared.
    """
    return {name: layer for name, layer in network.named_modules() if isinstance(layer, _PREPARED)}


def kept_in_float(network: nn.Module) -> tuple[str, ...]:
    """The layers with weights that stay in float32, as ``name (type)``; normalisations are not counted."""
    return tuple(
        f"{name} ({type(module).__name__})"
        for name, module in network.named_modules()
        if next(module.parameters(recurse=False), None) is not None
        and not isinstance(module, (*_PREPARED, Grid, *_NORMALISATIONS))
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


def _simulated(layer: nn.Module, weight_bits: int) -> QuantisedLayer:
    if isinstance(layer, nn.Conv2d):
        return QuantisedConv2d(layer, weight_bits)
    assert isinstance(layer, nn.Linear)
    return QuantisedLinear(layer, weight_bits)
