"""What a node of a torch program was called with."""

from __future__ import annotations

from typing import Any

from torch import fx


def arguments(node: fx.Node, importer: Any) -> dict[str, Any]:
    """The operator's arguments by their names, tensors as relax expressions, left out ones as their defaults."""
    operator: Any = node.target
    schema = operator._schema.arguments
    given = zip((argument.name for argument in schema), importer.retrieve_args(node), strict=False)
    defaults = {argument.name: argument.default_value for argument in schema if argument.has_default_value()}
    return {**defaults, **dict(given), **{name: importer.env.get(each, each) for name, each in _named(node)}}


def _named(node: fx.Node) -> list[tuple[str, Any]]:
    return [(name, value) for name, value in node.kwargs.items() if not isinstance(value, list | dict)]
