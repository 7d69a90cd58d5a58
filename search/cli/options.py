"""The options of a search, made from the fields of its configuration: one list, never two."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any, get_type_hints

import click

from search.config import REPEATED, SearchConfig, default_of

Command = Callable[..., Any]


def config_options(command: Command) -> Command:
    """Give a command every option of ``SearchConfig``; only those written on the line reach it."""
    hints = get_type_hints(SearchConfig)
    for item in reversed(fields(SearchConfig)):
        command = _option(item.name, hints[item.name], default_of(item), item.metadata["help"])(command)
    return command


def given_options(values: dict[str, Any]) -> dict[str, Any]:
    """The options that were written on the command line."""
    return {name: value for name, value in values.items() if value is not None and value != ()}


def _option(name: str, hint: Any, default: Any, text: str) -> Callable[[Command], Command]:
    flag = "--" + name.replace("_", "-")
    if hint is bool:
        return click.option(flag, is_flag=True, default=None, help=text)
    if name in REPEATED:
        note = f"  [{', '.join(default)}]" if default else ""
        return click.option(flag, multiple=True, help=f"{text}; may be repeated{note}")
    shown = ",".join(default) if isinstance(default, tuple) else default
    note = "" if shown is None else f"  [{shown}]"
    kinds: dict[Any, type] = {int: int, int | None: int, float | None: float}
    return click.option(flag, type=kinds.get(hint, str), default=None, help=text + note)
