"""Which of several ways a kernel is built, decided in one place.

A kernel that can be built in several ways (tiles, orders of loops, algorithms) is described by a ``KernelKey``.
Whoever makes it lists its options, its own model's best first, and a ``Chooser`` answers with one. The answer
travels as an annotation on the kernel's computing stage to the rule that schedules it, so that weights packed
for a tile meet the loops of that tile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Choice = Mapping[str, int]
"""Names and whole numbers, as in ``{"rows": 1, "columns": 6, "vectors": 2, "lanes": 8}``."""

ANNOTATION = "choice"
OPERATIONS = "operations"
"""Annotation of a stage that is written out: its floating-point operations, which TVM cannot count."""


@dataclass(frozen=True)
class KernelKey:
    """What a kernel computes: its kind and the sizes that matter, without weights or what is fused behind it."""

    kind: str
    facts: tuple[tuple[str, int], ...]

    def __str__(self) -> str:
        return " ".join([self.kind, *(f"{name}={value}" for name, value in self.facts)])


Chooser = Callable[[KernelKey, Sequence[Choice]], Choice]


class ReplacedError(Exception):
    """Raised by a chooser where no option is to be built, but the operator as TVM computes it.

    The kernel that comes of it is marked with ``mark``, for whoever brings a schedule for it.
    """

    def __init__(self, mark: str) -> None:
        super().__init__(mark)
        self.mark = mark


def first(key: KernelKey, options: Sequence[Choice]) -> Choice:
    """The chooser that trusts the model: the first option."""
    return options[0]


def spelled(choice: Choice) -> str:
    """The choice as text.

    >>> spelled({"rows": 1, "columns": 6})
    'rows=1 columns=6'
    """
    return " ".join(f"{name}={value}" for name, value in choice.items())


def written(choice: Choice) -> dict[str, str]:
    """The choice as annotations of a stage (``te.compute(..., attrs=written(choice))``).

    >>> written({"rows": 1, "columns": 6})
    {'choice': 'rows=1 columns=6'}
    """
    return {ANNOTATION: spelled(choice)}


def read(annotations: Mapping[str, object]) -> Choice:
    """The choice that ``written`` put on a stage.

    >>> read({"choice": "rows=1 columns=6"})
    {'rows': 1, 'columns': 6}
    """
    pairs = (item.split("=") for item in str(annotations[ANNOTATION]).split())
    return {name: int(value) for name, value in pairs}
