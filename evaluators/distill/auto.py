"""`--distill auto`: the way of teaching as part of a candidate's choice, beside its architecture.

Choices of the names ``teach.*``: the method (``hard-labels`` among them: no teacher at all), its temperature, the
strength of the teacher against the labels, whether a method of layers compares answers, too, and its stages.
Those that a method does not have are of no effect, and equal trainings are equal candidates.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from evaluators.distill.catalogue import Method, load_distiller, methods
from evaluators.distill.method_text import method_text, split_text, written
from results.candidate import TEACHING
from spaces.choice import Choice, Value
from spaces.space import Space
from understudy import ConfigError, unknown_name

if TYPE_CHECKING:
    from torch import nn

AUTO = "auto"
PREFIX = TEACHING
METHOD = f"{PREFIX}method"
SETTINGS: Mapping[str, tuple[Value, ...]] = MappingProxyType(
    {
        f"{PREFIX}temperature": (1.0, 2.0, 4.0, 8.0),
        f"{PREFIX}strength": (0.25, 1.0, 4.0),
        f"{PREFIX}soft": (0.0, 0.9),
        f"{PREFIX}stages": ("all", "middle", "last"),
    }
)
"""What is chosen beside the method. ``strength`` multiplies the teacher's part of the loss over the labels'."""
_WEIGHTS: Mapping[str, tuple[str, ...]] = MappingProxyType({"dkd": ("alpha", "beta"), "dist": ("beta", "gamma")})
"""The settings that ``strength`` multiplies; for all others ``weight``."""


def auto_methods(text: str) -> tuple[str, ...] | None:
    """The ways of teaching that ``auto`` or ``auto:methods=A+B`` lets a search choose among; None for other texts.

    Raises ``ConfigError`` for a method that there is not, or fewer than two.
    """
    name, given = split_text(text)
    if name != AUTO:
        return None
    for setting in given:
        if setting != "methods":
            raise ConfigError(unknown_name(f"setting of {AUTO}", setting, ["methods"]))
    chosen = tuple(dict.fromkeys(given["methods"].split("+"))) if given else tuple(methods())
    for method in chosen:
        if method not in methods():
            raise ConfigError(unknown_name("distiller", method, methods()))
    if len(chosen) < 2:
        raise ConfigError(f"--distill {text} leaves nothing to choose: name two methods or more, joined by +")
    return chosen


def usable_methods(text: str, with_teacher: bool) -> tuple[str, ...]:
    """Of the ways of teaching that a text names, one or several, those that there is a teacher for, or need none.

    Raises ``ConfigError`` unless the text names a way of teaching, or ``auto``.
    """
    named = auto_methods(text) or (load_distiller(text).name,)
    return tuple(name for name in named if with_teacher or not methods()[name].kind.uses_teacher)


def teaching_domain(names: Iterable[str]) -> dict[str, tuple[Value, ...]]:
    """The choices of teaching by these methods: the method, and what at least one of them has."""
    chosen = tuple(names)
    having = {
        name: values
        for name, values in SETTINGS.items()
        if any(name in _relevant(methods()[method]) for method in chosen)
    }
    return {METHOD: chosen, **having}


def teaching_text(choice: Mapping[str, Value]) -> str:
    """The text of the way of teaching that a choice holds, the shortest; empty for a choice that holds none."""
    if METHOD not in choice:
        return ""
    method = methods()[str(choice[METHOD])]
    given = {name.removeprefix(PREFIX): choice[name] for name in _relevant(method) if name in choice}
    return method_text(load_distiller(_text(method, given)))


class TaughtSpace(Space):
    """A space whose choices also say how the student is taught, by one of some methods."""

    def __init__(self, space: Space, names: Iterable[str]) -> None:
        self._space = space
        self._first = {name: values[0] for name, values in teaching_domain(names).items()}
        self.name, self.resolutions = space.name, space.resolutions
        self.domain = MappingProxyType({**space.domain, **teaching_domain(names)})

    def build(self, choice: Mapping[str, Value]) -> nn.Module:
        """See ``Space.build``."""
        return self._space.build(architecture(choice))

    def resolution(self, choice: Mapping[str, Value]) -> int:
        """See ``Space.resolution``."""
        return self._space.resolution(architecture(choice))

    def signature(self, choice: Mapping[str, Value]) -> str:
        """The architecture's signature, ``+``, and a hash of the way of teaching."""
        digest = hashlib.blake2b(teaching_text(choice).encode(), digest_size=8).hexdigest()
        return f"{self._space.signature(architecture(choice))}+{digest}"

    def smallest(self) -> Choice:
        """See ``Space.smallest``."""
        return Choice({**self._space.smallest(), **self._first})


def architecture(choice: Mapping[str, Value]) -> Choice:
    """The part of a choice that is no teaching."""
    return Choice({name: value for name, value in choice.items() if not name.startswith(PREFIX)})


def _relevant(method: Method) -> list[str]:
    """The choices of ``SETTINGS`` that the method has; ``soft`` only where it is off by default."""
    has = {name for name in ("temperature", "stages") if name in method.settings}
    has |= {"strength"} if _strengths(method) else set()
    has |= {"soft"} if method.settings.get("soft") == 0 else set()
    return [f"{PREFIX}{name}" for name in ("temperature", "strength", "soft", "stages") if name in has]


def _strengths(method: Method) -> tuple[str, ...]:
    names = _WEIGHTS.get(method.name, ("weight",))
    return tuple(name for name in names if name in method.settings)


def _text(method: Method, given: Mapping[str, Value]) -> str:
    """The method's text with what was chosen; a temperature of no effect is left out."""
    settings: dict[str, Value] = {name: given[name] for name in ("soft", "stages") if name in given}
    if "temperature" in given and settings.get("soft", method.settings.get("soft")) != 0:
        settings["temperature"] = given["temperature"]
    for name in _strengths(method):
        settings[name] = _strengthened(method, name, float(given.get("strength", 1.0)))
    return f"{method.name}:" + ",".join(f"{name}={written(value)}" for name, value in settings.items())


def _strengthened(method: Method, name: str, factor: float) -> float:
    """A weight times the factor; of a share of the loss, the odds."""
    value = method.settings[name]
    assert isinstance(value, float)
    if factor == 1:
        return value
    if name in _shares(method):
        odds = factor * value / (1 - value)
        return float(f"{odds / (1 + odds):.3g}")
    return factor * value


def _shares(method: Method) -> frozenset[str]:
    """The weights of a method that are shares of the loss, so that they refuse to be above 1."""
    found = set()
    for name in _strengths(method):
        try:
            load_distiller(f"{method.name}:{name}=1.5")
        except ConfigError:
            found.add(name)
    return frozenset(found)
