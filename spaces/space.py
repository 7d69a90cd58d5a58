"""What every space of student architectures offers, whoever declared it."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING

from spaces.choice import Choice, Value
from understudy import SpaceError, unknown_name

if TYPE_CHECKING:
    from torch import nn

RESOLUTION = "resolution"
"""The choice of this name, where a space has it, is the student's input size."""
VECTOR = 1
"""The input size of students that take vectors instead of images: as many features as there are channels."""


class Space(ABC):
    """A family of networks with named choices.

    ``domain`` maps every named choice to its values, in a stable order; ``resolutions`` are the input sizes
    (pixels, square, or ``VECTOR``) that occur, smallest first.
    """

    name: str
    domain: Mapping[str, tuple[Value, ...]]
    resolutions: tuple[int, ...]

    @abstractmethod
    def build(self, choice: Mapping[str, Value]) -> nn.Module:
        """The untrained network: (N, C, R, R) or (N, C) float32 -> logits (N, classes), in training mode.

        The same seed of torch's generator gives the same weights. Raises ``SpaceError`` for a choice outside
        the domain.
        """

    @abstractmethod
    def resolution(self, choice: Mapping[str, Value]) -> int:
        """The input size R of the network of ``choice``, in pixels."""

    @abstractmethod
    def signature(self, choice: Mapping[str, Value]) -> str:
        """A hash (64 hex digits), equal iff the built networks and resolutions are; the same in any process."""

    @abstractmethod
    def smallest(self) -> Choice:
        """The cheapest choice found, by parameters and multiply-adds; always the same one."""


def sample_shape(channels: int, size: int) -> tuple[int, ...]:
    """The shape of one input: (channels, size, size), or (channels,) where ``size`` is ``VECTOR``."""
    return (channels,) if size == VECTOR else (channels, size, size)


def check_choice(space: Space, choice: Mapping[str, Value]) -> Choice:
    """``choice`` in the order of the domain; ``SpaceError`` names what is missing, unknown or out of range."""
    for name in choice:
        if name not in space.domain:
            raise SpaceError(f"space {space.name}: {unknown_name('choice', name, space.domain)}")
    missing = [name for name in space.domain if name not in choice]
    if missing:
        raise SpaceError(f"space {space.name}: the choice must also give {', '.join(missing)}")
    for name, values in space.domain.items():
        if not any(choice[name] == value and type(choice[name]) is type(value) for value in values):
            valid = ", ".join(map(repr, values))
            raise SpaceError(f"space {space.name}: {name} must be one of {valid}, but got {choice[name]!r}")
    return Choice({name: choice[name] for name in space.domain})


def random_choice(space: Space, generator: random.Random) -> Choice:
    """A choice drawn evenly, value by value."""
    return Choice({name: generator.choice(values) for name, values in space.domain.items()})


def first_choice(space: Space) -> Choice:
    """The first value of every choice."""
    return Choice({name: values[0] for name, values in space.domain.items()})
