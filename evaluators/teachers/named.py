"""What the user says of teachers: which, and how much each counts among several."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from understudy import ConfigError

BUILTIN = "builtin"
NONE = "none"
AUTO = "auto"
COMBINED = ("mean", "agreement")
"""How several teachers' answers become one: the names of the rules in ``combine.py``."""
_BUILTIN = re.compile(r"(builtin(?::seed=\d+)?)(?:=(.*))?")


@dataclass(frozen=True)
class NamedTeacher:
    """One teacher as it is named; ``weight`` counts among several.

    ``source`` is a path, the id of a model, ``builtin`` or ``builtin:seed=N``.
    """

    source: str
    weight: float = 1.0

    @property
    def builtin(self) -> bool:
        """Whether it is a network of ours, trained here."""
        return _BUILTIN.fullmatch(self.source) is not None

    @property
    def seed(self) -> int | None:
        """The seed that a built-in one is asked to have; None for that of the run."""
        _, equals, seed = self.source.partition(":seed=")
        return int(seed) if self.builtin and equals else None


def parse_teachers(texts: Sequence[str]) -> tuple[NamedTeacher, ...]:
    """The teachers that texts such as ``resnet.onnx=0.7`` and ``builtin:seed=1`` name; nobody for ``none``.

    >>> parse_teachers(["resnet.onnx=0.7", "builtin:seed=1"])
    (NamedTeacher(source='resnet.onnx', weight=0.7), NamedTeacher(source='builtin:seed=1', weight=1.0))

    No text at all is the built-in one. Raises ``ConfigError`` for a weight that is no number above 0, for
    ``none`` beside others, and for a teacher named twice.
    """
    if NONE in texts:
        if len(texts) > 1:
            raise ConfigError(f"--teacher none stands alone, but got {', '.join(texts)}: leave out none")
        return ()
    named = tuple(_parse(text) for text in texts) or (NamedTeacher(BUILTIN),)
    for number, teacher in enumerate(named):
        if teacher.source in [other.source for other in named[:number]]:
            raise ConfigError(
                f"teacher {teacher.source} is named twice: give it a larger weight (--teacher NAME=2)"
            )
    return named


def parse_width(text: str) -> float:
    """An assistant's width, as a share of the built-in network's; raises ``ConfigError`` unless in 0 to 4."""
    try:
        width = float(text)
    except ValueError:
        width = math.nan
    if not 0 < width <= 4:
        raise ConfigError(f"assistant must be auto or a width above 0 and at most 4, but got {text!r}")
    return width


def _parse(text: str) -> NamedTeacher:
    ours = _BUILTIN.fullmatch(text)
    source, weight = (ours[1], ours[2]) if ours else _split(text)
    return NamedTeacher(source, 1.0 if weight is None else _weight(weight, text))


def _split(text: str) -> tuple[str, str | None]:
    source, equals, weight = text.rpartition("=")
    return (source, weight) if equals and not Path(text).exists() else (text, None)


def _weight(text: str, whole: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not (math.isfinite(weight) and weight > 0):
        raise ConfigError(f"the weight of a teacher must be a number above 0, as in NAME=0.7, but got {whole!r}")
    return weight
