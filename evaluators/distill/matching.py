"""Which layers of two networks belong together, found by one traced forward pass of each."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from evaluators.distill.features import find_layer, token_side
from spaces.batch import Batch, mapped, parts, twice
from understudy import ConfigError

MOST_STAGES = 4
_LAYERS_A_STAGE = 4
"""Fewer layers of one resolution are parts of one block."""
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Layer:
    """A layer that ran: its name, the shorter ``side`` of its feature map (1 for an embedding) and its channels.

    ``inner`` counts the blocks around it that give a smaller map: such a layer belongs to the next stage.
    """

    name: str
    side: int
    channels: int
    inner: int = 0

    @property
    def depth(self) -> int:
        """How deep the layer is nested."""
        return self.name.count(".")


@dataclass(frozen=True)
class Layers:
    """What a network's layers give, in the order in which they finish.

    ``stages`` are the last maps before each change of resolution, where the resolution never changes those at
    quarters of the depth; the last stage is the last. ``embedding`` is what the classifier sees, or the last
    stage where that is no layer's output.
    """

    found: tuple[Layer, ...]
    stages: tuple[Layer, ...]
    embedding: Layer


def trace_layers(network: nn.Module, samples: Batch, owner: str) -> Layers:
    """The layers of a classifier, by one pass over ``samples`` (B, C, R, R), which leaves it in its mode.

    What is computed before the first weight, such as features of a waveform, is no layer to compare: nothing of it
    can be taught. Where samples are pictures with questions, tokens are no maps. Raises ``ConfigError`` for a
    network none of whose layers gives a map or an embedding.
    """
    if not parts(samples)[0].is_floating_point():
        raise ConfigError(
            "layers are compared as maps of images, and texts have none: use minilm, or a method of outputs, such "
            "as --distill soft-targets"
        )
    shapes, logits = _run(network, mapped(twice, samples))
    if isinstance(samples, tuple):
        shapes = {name: shape for name, shape in shapes.items() if len(shape) != 3}
    sides = {name: side for name, shape in shapes.items() if (side := _side(shape)) is not None}
    found = tuple(
        Layer(name, side, _channels(shapes[name]), _inner(network, name, sides)) for name, side in sides.items()
    )
    before = _before_classifier(network, found, logits.shape[1])
    maps = [layer for layer in before if layer.side > 1]
    stages = _stages(maps)
    after = before[before.index(maps[-1]) + 1 :] if maps else before
    flat = [layer for layer in after if len(shapes[layer.name]) == 2]
    if not flat and not stages:
        raise ConfigError(
            f"no layer of the {owner} gives a feature map or an embedding that could be compared: use a method of "
            "outputs, such as --distill soft-targets"
        )
    embedding = flat[-1] if flat else stages[-1]
    return Layers(found, stages or (embedding,), embedding)


def paired(student: Sequence[_Item], teacher: Sequence[_Item]) -> list[tuple[_Item, _Item]]:
    """Items of two sequences at the same relative depth, at most ``MOST_STAGES``; the last with the last."""
    count = min(len(student), len(teacher), MOST_STAGES)
    return list(zip(_spread(student, count), _spread(teacher, count), strict=True))


def named_layers(layers: Layers, network: nn.Module, names: str, owner: str) -> list[Layer]:
    """The layers that a user names, joined by ``+``; a teacher's without the ``network.`` around it.

    Raises ``ConfigError`` for a layer that is not there (naming the nearest) or that gives no features.
    """
    known = {layer.name: layer for layer in layers.found}
    chosen = []
    for name in names.split("+"):
        inside = f"network.{name}"
        if name not in known and inside in known:
            name = inside
        find_layer(network, name, owner)
        if name not in known:
            raise ConfigError(
                f"layer {name!r} of the {owner} gives no feature map, square of tokens or embedding: name one "
                f"that does, such as {layers.stages[-1].name}"
            )
        chosen.append(known[name])
    return chosen


def _run(network: nn.Module, samples: Batch) -> tuple[dict[str, torch.Size], Tensor]:
    """The shapes of what each layer gives to a batch of two, from the first with weights on, in the order in which
    they finish; the logits."""
    shapes: dict[str, torch.Size] = {}

    def keep(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and len(output.shape) > 1 and len(output) == len(parts(samples)[0]):
                shapes.pop(name, None)
                shapes[name] = output.shape

        return hook

    handles = [module.register_forward_hook(keep(name)) for name, module in network.named_modules() if name]
    training = network.training
    try:
        with torch.no_grad():
            logits: Tensor = network.eval()(*parts(samples))
    finally:
        for handle in handles:
            handle.remove()
        network.train(training)
    learnt = itertools.dropwhile(lambda each: not _has_weights(network.get_submodule(each[0])), shapes.items())
    return dict(learnt), logits


def _has_weights(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None


def _side(shape: torch.Size) -> int | None:
    """The shorter side of the map that a layer gives; None for what is none."""
    if len(shape) == 4:
        return min(shape[2:])
    if len(shape) == 3:
        side = token_side(shape[1])
        return side if 0 <= shape[1] - side * side <= 2 else None
    return 1 if len(shape) == 2 else None


def _channels(shape: torch.Size) -> int:
    return shape[2] if len(shape) == 3 else shape[1]


def _inner(network: nn.Module, name: str, sides: dict[str, int]) -> int:
    """Blocks around a layer that give a smaller map; a ``Sequential`` only strings blocks together."""
    parts = name.split(".")
    around = (".".join(parts[:count]) for count in range(1, len(parts)))
    return sum(
        1 < sides.get(outer, 1) < sides[name] and not isinstance(network.get_submodule(outer), nn.Sequential)
        for outer in around
    )


def _before_classifier(network: nn.Module, found: Sequence[Layer], classes: int) -> list[Layer]:
    """The layers that finish before the last linear layer that gives the logits."""
    for index in range(len(found) - 1, -1, -1):
        layer = found[index]
        if layer.channels == classes and isinstance(network.get_submodule(layer.name), nn.Linear):
            return list(found[:index])
    return list(found)


def _stages(maps: Sequence[Layer]) -> tuple[Layer, ...]:
    sides = sorted({layer.side for layer in maps}, reverse=True)
    if len(sides) == 1:
        count = max(1, min(MOST_STAGES, len(maps) // _LAYERS_A_STAGE))
        bounds = [round(index * len(maps) / count) for index in range(count + 1)]
        return tuple(_outermost(maps[low:high]) for low, high in itertools.pairwise(bounds))
    return tuple(_last([layer for layer in maps if layer.side == side]) for side in sides)


def _last(maps: Sequence[Layer]) -> Layer:
    least = min(layer.inner for layer in maps)
    return [layer for layer in maps if layer.inner == least][-1]


def _outermost(maps: Sequence[Layer]) -> Layer:
    least = min(layer.depth for layer in maps)
    return [layer for layer in maps if layer.depth == least][-1]


def _spread(items: Sequence[_Item], count: int) -> list[_Item]:
    return [items[round((index + 1) * len(items) / count) - 1] for index in range(count)]
