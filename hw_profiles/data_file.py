"""Reading a profile's TOML file: plain data, every key known, none missing."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from understudy import ProfileError, unknown_name

UNKNOWN = "?"
"""What stands in a new profile for a fact that could not be detected."""


def read_facts(
    path: Path, kind: type, derived: Collection[str], table: object = None, prefix: str = ""
) -> dict[str, Any]:
    """The file as keyword arguments of the dataclass ``kind``, of which ``derived`` are not in the file.

    ``table`` is a part of a file that was read already, its keys named with ``prefix``. Raises ``ProfileError``
    for what is no table, an unknown key (with the nearest one), a missing one, or one still to be filled in.
    """
    data = _read(path) if table is None else table
    if not isinstance(data, dict):
        raise ProfileError(f"{path}: {prefix.rstrip('.')} must be a table, but got {data!r}")
    keys = {entry.name: entry for entry in dataclasses.fields(kind) if entry.name not in derived}
    for key in data:
        if key not in keys:
            raise ProfileError(f"{path}: {unknown_name('key', prefix + key, [prefix + known for known in keys])}")
    missing = sorted(prefix + name for name, entry in keys.items() if name not in data and _needed(entry))
    if missing:
        raise ProfileError(f"{path} must give {', '.join(missing)}: add the missing keys")
    unknown = sorted(prefix + key for key, value in data.items() if value == UNKNOWN)
    if unknown:
        raise ProfileError(f"{path} leaves {', '.join(unknown)} open: write what the device's makers say there")
    _check_collections(path, data)
    return dict(data)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProfileError(f"cannot read the profile {path} ({error}): mend or replace the file") from error


def _needed(entry: dataclasses.Field[Any]) -> bool:
    return entry.name == "sources" or (
        entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING
    )


def _check_collections(path: Path, data: Mapping[str, Any]) -> None:
    features, sources = data.get("features", []), data.get("sources", {})
    if not isinstance(features, list) or not all(isinstance(feature, str) for feature in features):
        raise ProfileError(f"{path}: features must be a list of flag names, but got {features!r}")
    if not isinstance(sources, dict) or not all(isinstance(source, str) for source in sources.values()):
        raise ProfileError(f"{path}: sources must be a table of field = where it is from, but got {sources!r}")
