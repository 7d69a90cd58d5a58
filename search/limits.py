"""The hard limits of a search as people write them: for all targets (``8ms``) or for one (``rpi5=8ms``).

Latency and size may be parts of the teacher's (``teacher/5``), which are known once it has been measured.
"""

from __future__ import annotations

import re
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
_PART = re.compile(r"teacher/([0-9]*\.?[0-9]+)")
_WRITTEN: Mapping[str, Callable[[float], str]] = MappingProxyType(
    {"max_latency": lambda seconds: f"{1e6 * seconds:.4g}us", "max_size": lambda size: f"{size:.0f}B"}
)
"""How a part of the teacher's is written as a limit of its own, where there are such."""


def budget_on(target: str, given: Mapping[str, Sequence[str]]) -> Budget:
    """The budget of one target from the options: its own limit wins over that for all.

    Parts of the teacher's are none yet.
    """
    limits: dict[str, float] = {}
    for option, texts in given.items():
        metric, parse = LIMITS[option]
        amounts = _by_target(texts)
        text = amounts.get(target, amounts.get(""))
        if text is not None and not _PART.fullmatch(text):
            limits[metric] = parse(text)
    return Budget(limits)


def are_parts(given: Mapping[str, Sequence[str]]) -> bool:
    """Whether some limit is a part of the teacher's."""
    return any(_PART.fullmatch(text) for texts in given.values() for text in _by_target(texts).values())


def in_units(
    given: Mapping[str, Sequence[str]], costs: Mapping[str, Mapping[str, float]]
) -> dict[str, tuple[str, ...]]:
    """The options with limits in units for each part of the teacher's; ``costs`` are its figures by target.

    Those are in seconds and bytes, by metric. Raises ``ConfigError`` for one that is not known.
    """
    found = {}
    for option, texts in given.items():
        metric, amounts = LIMITS[option][0], _by_target(texts)
        limits = list[str]()
        for target, cost in costs.items():
            text = amounts.get(target, amounts.get(""))
            if text is None:
                continue
            if part := _PART.fullmatch(text):
                if metric not in cost:
                    raise ConfigError(
                        f"{option} {text}: the teacher's {metric} is not known on {target}: give a quantity with "
                        "its unit"
                    )
                text = _WRITTEN[option](cost[metric] / float(part[1]))
            limits.append(f"{target}={text}")
        found[option] = tuple(limits)
    return found


def check_limits(given: Mapping[str, Sequence[str]], targets: Sequence[str]) -> None:
    """Refuse what is no limit, or one for a target that the search has not; raises ``ConfigError``."""
    for option, texts in given.items():
        for target, text in _by_target(texts).items():
            _check_amount(option, text)
            if target and target not in targets:
                raise ConfigError(f"{option}: {unknown_name('profile', target, targets)}")


def _check_amount(option: str, text: str) -> None:
    part = _PART.fullmatch(text)
    if part is None:
        LIMITS[option][1](text)
    elif option not in _WRITTEN:
        raise ConfigError(
            f"{option} {text}: of the teacher only latency and size are known: give a quantity with its unit"
        )
    elif float(part[1]) <= 0:
        raise ConfigError(f"{option} {text}: write by what the teacher's is divided, such as teacher/5")


def _by_target(texts: Sequence[str]) -> dict[str, str]:
    """The limit of each target, or of all under an empty name; of several, the last."""
    found: dict[str, str] = {}
    for text in texts:
        target, _, amount = text.rpartition("=")
        found[target] = amount
    return found
