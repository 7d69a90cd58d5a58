"""Quantities as people write them (``2ms``, ``4MB``, ``2h``) to and from SI numbers."""

from __future__ import annotations

import re

from understudy import ConfigError

_TIME = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0}
_SIZE = {"b": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 1024.0, "mib": 1024.0**2, "gib": 1024.0**3}
_ENERGY = {"nj": 1e-9, "uj": 1e-6, "µj": 1e-6, "mj": 1e-3, "j": 1.0}
_SHAPE = re.compile(r"\s*([0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)\s*([a-zA-Zµ]+)\s*")


def parse_time(text: str) -> float:
    """Seconds of a duration such as ``2ms`` or ``1.5h``; raises ``ConfigError`` for anything else.

    >>> parse_time("2ms")
    0.002
    """
    return _parse(text, _TIME, "a time", "2ms, 0.5s or 2h")


def parse_size(text: str) -> float:
    """Bytes of a size such as ``4MB`` (decimal) or ``4MiB`` (binary); raises ``ConfigError`` otherwise.

    >>> parse_size("4MB")
    4000000.0
    """
    return _parse(text, _SIZE, "a size", "300kB, 4MB or 4MiB")


def parse_energy(text: str) -> float:
    """Joules of an energy such as ``5mJ``; raises ``ConfigError`` for anything else.

    >>> parse_energy("5mJ")
    0.005
    """
    return _parse(text, _ENERGY, "an energy", "300uJ, 5mJ or 1J")


def _parse(text: str, units: dict[str, float], what: str, examples: str) -> float:
    match = _SHAPE.fullmatch(text)
    factor = units.get(match[2].lower()) if match else None
    if match is None or factor is None or float(match[1]) <= 0:
        raise ConfigError(f"{text!r} is not {what}: write a positive number with its unit, such as {examples}")
    return float(match[1]) * factor


def format_time(seconds: float) -> str:
    """A duration for people, three significant digits.

    >>> format_time(0.00234)
    '2.34 ms'
    """
    for unit, factor in (("h", 3600.0), ("min", 60.0), ("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= factor:
            return f"{seconds / factor:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def format_energy(joules: float) -> str:
    """An energy for people, three significant digits.

    >>> format_energy(0.00234)
    '2.34 mJ'
    """
    for unit, factor in (("J", 1.0), ("mJ", 1e-3), ("µJ", 1e-6)):
        if joules >= factor:
            return f"{joules / factor:.3g} {unit}"
    return f"{joules / 1e-9:.3g} nJ"


def format_size(size: float) -> str:
    """A size for people, decimal units, three significant digits.

    >>> format_size(1234567)
    '1.23 MB'
    """
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size:.3g} B"
