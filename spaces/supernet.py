"""One set of tensors that all networks of a space share: a supernet.

After Once-for-All (Cai et al., 2020, arXiv:1908.09791) and BigNAS (Yu et al., 2020, arXiv:2003.11142).

A sub-network is the plain network that the space builds; each of its parameters is a part of a shared tensor: the
first channels, the middle of a kernel, and where the depth is chosen the first blocks. What stands at one place by
different layer choices (a bottleneck or a basic block, gates or none) shares nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from spaces.choice import Choice, Value
from spaces.nni_adapter import NniSpace
from spaces.space import Space, check_choice
from understudy import SpaceError

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
Index = tuple[slice, ...]


@dataclass(frozen=True)
class SubNetwork:
    """The plain ``network`` of a choice and, for each parameter, which part of which shared tensor it is."""

    choice: Choice
    network: nn.Module
    parts: tuple[tuple[nn.Parameter, nn.Parameter, Index], ...]

    def load(self) -> None:
        """Copy the shared weights into the network."""
        with torch.no_grad():
            for own, shared, index in self.parts:
                own.copy_(shared[index])

    def hand_back(self) -> None:
        """Add the network's gradients to those of the shared tensors, and forget them."""
        for own, shared, index in self.parts:
            if own.grad is None:
                continue
            if shared.grad is None:
                shared.grad = torch.zeros_like(shared)
            shared.grad[index] += own.grad
            own.grad = None


def holders(sub_networks: Iterable[SubNetwork]) -> dict[nn.Parameter, Tensor]:
    """By shared tensor that sub-networks have parts of: how many of them hold each weight, 1 where none does."""
    found: dict[nn.Parameter, Tensor] = {}
    for sub_network in sub_networks:
        for _, shared, index in sub_network.parts:
            found.setdefault(shared, torch.zeros_like(shared))[index] += 1
    return {shared: count.clamp_(min=1) for shared, count in found.items()}


class Supernet:
    """The shared tensors of a space, by name, and its sub-networks.

    A name is that of the parameter in the plain network, with the layer choices on the way to it and the type of
    its module: ``stages.0.0.squeeze[stages.0.squeeze=yes].reduce.weight:Conv2d``.
    """

    def __init__(self, space: NniSpace, tensors: Mapping[str, Tensor], device: str = "cpu") -> None:
        self.space, self.device = space, device
        self.tensors = {name: nn.Parameter(tensor.to(device)) for name, tensor in tensors.items()}

    @cached_property
    def largest(self) -> Choice:
        """See ``NniSpace.largest``."""
        return self.space.largest()

    @cached_property
    def smallest(self) -> Choice:
        """See ``Space.smallest``."""
        return self.space.smallest()

    @staticmethod
    def untrained(space: Space, device: str = "cpu") -> Supernet:
        """Initialised as the space initialises its networks, from torch's generator.

        Raises ``SpaceError`` for a space whose networks differ in more than sizes and layer choices.
        """
        plain = shareable(space)
        return Supernet(plain, _discovered(plain), device)

    def sub_network(self, choice: Mapping[str, Value]) -> SubNetwork:
        """The network of a choice, with the shared weights, in training mode.

        Raises ``SpaceError`` for one that has a parameter which is no part of the shared tensors.
        """
        checked = check_choice(self.space, choice)
        with torch.random.fork_rng(devices=[]):  # its own initial weights are of no interest
            network, chosen = self.space.build_noted(checked)
        network.to(self.device)
        parts = []
        for place in _places(network, chosen):
            shared = self.tensors.get(place.name)
            if shared is None or not _fits(place.parameter.shape, shared.shape):
                raise _unshared(self.space, place.name, checked)
            parts.append((place.parameter, shared, place.index(shared.shape)))
        found = SubNetwork(checked, network, tuple(parts))
        found.load()
        return found

    def inherit(self, choice: Mapping[str, Value]) -> nn.Module:
        """The plain network of a choice, as the space builds it, with the shared weights for its own."""
        return self.sub_network(choice).network


def shareable(space: Space) -> NniSpace:
    """The space itself; raises ``SpaceError`` for one whose choices are more than an architecture."""
    if not isinstance(space, NniSpace):
        raise SpaceError(
            f"a supernet holds the architectures of a space, but the choices of this search of {space.name} are "
            "also how students are taught or computed: name one way with --distill, and leave out --quantise mixed"
        )
    return space


@dataclass(frozen=True)
class _Place:
    """A parameter, the name of the shared tensor it is a part of, and whether its last axes are a kernel's."""

    name: str
    parameter: nn.Parameter
    kernel: bool

    def index(self, shape: torch.Size) -> Index:
        """The part of a shared tensor of that shape: the first of each axis, the middle of a kernel's."""
        starts = [
            (large - size) // 2 if self.kernel and axis >= 2 else 0
            for axis, (size, large) in enumerate(zip(self.parameter.shape, shape, strict=True))
        ]
        return tuple(slice(start, start + size) for start, size in zip(starts, self.parameter.shape, strict=True))


def _places(network: nn.Module, chosen: Mapping[str, Mapping[str, Value]]) -> Iterable[_Place]:
    for name, parameter in network.named_parameters():
        owner, _, own = name.rpartition(".")
        module = network.get_submodule(owner)
        kernel = isinstance(module, _CONVOLUTIONS) and own == "weight"
        yield _Place(f"{_shared_name(name, chosen)}:{type(module).__name__}", parameter, kernel)


def _shared_name(name: str, chosen: Mapping[str, Mapping[str, Value]]) -> str:
    """The name of a parameter with, behind each module that a layer choice put there, that choice."""
    said, path = _choices_said(chosen.get("", {})), ""
    for part in name.split("."):
        path = f"{path}.{part}" if path else part
        said += ("." if said else "") + part + _choices_said(chosen.get(path, {}))
    return said


def _choices_said(choices: Mapping[str, Value]) -> str:
    return "".join(f"[{label}={value}]" for label, value in choices.items())


def _discovered(space: NniSpace) -> dict[str, Tensor]:
    """Every shared tensor, at the largest size seen in the largest network and its other choices but numbers.

    A layer choice that only occurs within another is varied where it first occurs.
    """
    found: dict[str, Tensor] = {}
    varied: set[str] = set()
    kinds = {label for label, values in space.domain.items() if any(isinstance(value, str) for value in values)}
    waiting = [space.largest()]
    while waiting:
        base = waiting.pop(0)
        for label in sorted((_meet(space, base, found) | kinds) - varied):
            varied.add(label)
            for value in space.domain[label]:
                if value != base[label]:
                    other = Choice({**base, label: value})
                    if _meet(space, other, found) - varied - kinds:
                        waiting.append(other)
    return found


def _meet(space: NniSpace, choice: Choice, found: dict[str, Tensor]) -> set[str]:
    """Make room in ``found`` for the network of a choice; the labels of the layer choices in it."""
    network, chosen = space.build_noted(choice)
    for place in _places(network, chosen):
        new, old = place.parameter.detach(), found.get(place.name)
        if old is None:
            found[place.name] = new.clone()
        elif old.ndim != new.ndim:
            raise _unshared(space, place.name, choice)
        elif not _fits(new.shape, old.shape):
            found[place.name] = _grown(place, old)
    return {label for labels in chosen.values() for label in labels}


def _grown(place: _Place, old: Tensor) -> Tensor:
    """The old tensor in the middle or the corner of one as large as both, the rest drawn like the new one."""
    new = place.parameter.detach()
    shape = torch.Size(max(pair) for pair in zip(new.shape, old.shape, strict=True))
    spread = float(new.std()) if new.numel() > 1 else 0.0
    grown = torch.randn(shape) * spread + float(new.mean())
    grown[place.index(shape)] = new
    grown[_Place(place.name, nn.Parameter(old), place.kernel).index(shape)] = old
    return grown


def _fits(size: torch.Size, large: torch.Size) -> bool:
    return len(size) == len(large) and all(a <= b for a, b in zip(size, large, strict=True))


def _unshared(space: Space, name: str, choice: Choice) -> SpaceError:
    return SpaceError(
        f"space {space.name} has no supernet: its networks differ in more than sizes and layer choices, as {name} "
        f"of {choice.key} shows. Declare what differs with LayerChoice, or search without --supernet"
    )
