"""The distillers by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from evaluators.distill.distiller import Distiller
from evaluators.distill.methods.response import HardLabels, SoftTargets
from understudy import ConfigError, unknown_name

_DISTILLERS: Mapping[str, Callable[..., Distiller]] = MappingProxyType(
    {"soft-targets": SoftTargets, "hard-labels": HardLabels}
)


def load_distiller(name: str, **settings: float) -> Distiller:
    """The distiller of that name; ``settings`` are its own (``temperature``, ``weight``).

    Raises ``ConfigError`` for an unknown name, or for settings it does not have.
    """
    if name not in _DISTILLERS:
        raise ConfigError(unknown_name("distiller", name, _DISTILLERS))
    try:
        return _DISTILLERS[name](**settings)
    except TypeError as error:
        raise ConfigError(f"distiller {name!r} has no such setting: {error}") from error
