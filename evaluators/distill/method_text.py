"""A way of teaching as one text: ``NAME[:setting=value,...]``, such as ``dkd:alpha=1,beta=8``.

The settings of a method are the fields of its dataclass that hold a number, a truth value or text.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, get_args, get_type_hints

from evaluators.distill.distiller import Distiller
from understudy import ConfigError, unknown_name

Value = int | float | str | bool | None
"""The value of a setting; None where a method works one out by itself."""
_KINDS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a finite number",
    str: "text without commas",
}
_TRUTH = {"true": True, "yes": True, "false": False, "no": False}


def split_text(text: str) -> tuple[str, dict[str, str]]:
    """The name in a method's text and its settings as they are written; raises ``ConfigError`` for other text."""
    name, _, rest = text.strip().partition(":")
    settings: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in rest.split(","))):
        setting, equals, value = (piece.strip() for piece in part.partition("="))
        if not (setting and equals and value):
            raise ConfigError(
                f"--distill must be NAME or NAME:setting=value,setting=value, but got {part!r} in {text!r}"
            )
        if setting in settings:
            raise ConfigError(f"--distill gives {setting} of {name} twice in {text!r}: leave one out")
        settings[setting] = value
    return name.strip(), settings


def settings_of(method: type[Distiller]) -> dict[str, Value]:
    """The settings of a method with their defaults, in the order of its fields."""
    return {item.name: _default(item) for item, _ in _fields(method)}


def with_settings(method: type[Distiller], given: Mapping[str, str]) -> Distiller:
    """The method with settings read from text; raises ``ConfigError`` for an unknown one or a bad value."""
    kinds = {item.name: kind for item, kind in _fields(method)}
    for name in given:
        if not kinds:
            raise ConfigError(f"{method.name} has no settings, but got {name}: leave it out")
        if name not in kinds:
            raise ConfigError(unknown_name(f"setting of {method.name}", name, kinds))
    return method(**{name: _read(method.name, name, kinds[name], text) for name, text in given.items()})


def method_text(distiller: Distiller) -> str:
    """The shortest text of a distiller: its name, and the settings that are not the defaults, in order."""
    given = [
        f"{item.name}={written(getattr(distiller, item.name))}"
        for item, _ in _fields(type(distiller))
        if getattr(distiller, item.name) != item.default
    ]
    return distiller.name + (f":{','.join(given)}" if given else "")


def written(value: Value) -> str:
    """A value as it is written in a method's text."""
    if isinstance(value, float):
        return f"{value:.12g}"
    return value if isinstance(value, str) else str(value).lower()


def _default(item: Field[Any]) -> Any:
    return item.default


def _fields(method: type[Any]) -> list[tuple[Field[Any], Any]]:
    """The fields of a method that are settings, with their type (of ``T | None``: T)."""
    if not is_dataclass(method):
        return []
    hints = get_type_hints(method)
    found = []
    for item in fields(method):
        kinds = [kind for kind in get_args(hints[item.name]) or (hints[item.name],) if kind is not type(None)]
        if item.init and item.default is not MISSING and len(kinds) == 1 and kinds[0] in _KINDS:
            found.append((item, kinds[0]))
    return found


def _read(method: str, name: str, kind: Any, text: str) -> Value:
    try:
        if kind is bool:
            return _TRUTH[text.lower()]
        value: Value = kind(text)
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(text)
    except (ValueError, KeyError) as error:
        raise ConfigError(f"{name} of {method} must be {_KINDS[kind]}, but got {text!r}") from error
    return value
