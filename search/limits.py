"""The hard limits of a search as people write them: for all targets (``8ms``) or for one (``rpi5=8ms``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from results.budget import Budget
from results.units import parse_energy, parse_size, parse_time
from understudy import ConfigError, unknown_name

LIMITS: Mapping[str, tuple[str, Callable[[str], float]]] = MappingProxyType(
    {
        "max_latency": ("latency", parse_time),
        "max_first_token": ("first_token", parse_time),
        "max_size": ("size", parse_size),
        "max_memory": ("memory", parse_size),
        "max_energy": ("energy", parse_energy),
    }
)
"""By option, the metric that it limits and what reads its quantity."""


def budget_on(target: str, given: Mapping[str, Sequence[str]]) -> Budget:
    """The budget of one target from the options: its own limit wins over that for all."""
    limits: dict[str, float] = {}
    for option, texts in given.items():
        metric, parse = LIMITS[option]
        amounts = _by_target(texts)
        text = amounts.get(target, amounts.get(""))
        if text is not None:
            limits[metric] = parse(text)
    return Budget(limits)


def check_limits(given: Mapping[str, Sequence[str]], targets: Sequence[str]) -> None:
    """Refuse what is no limit, or one for a target that the search has not; raises ``ConfigError``."""
    for option, texts in given.items():
        for target, text in _by_target(texts).items():
            LIMITS[option][1](text)
            if target and target not in targets:
                raise ConfigError(f"{option}: {unknown_name('profile', target, targets)}")


def _by_target(texts: Sequence[str]) -> dict[str, str]:
    """The limit of each target, or of all under an empty name; of several, the last."""
    found: dict[str, str] = {}
    for text in texts:
        target, _, amount = text.rpartition("=")
        found[target] = amount
    return found
