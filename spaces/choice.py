"""One point of a space: an immutable mapping from the names of its choices to values."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping

from understudy import SpaceError

Value = int | float | str | bool


class Choice(Mapping[str, Value]):
    """A choice, hashable; equal to another with the same names and values (``1``, ``1.0`` and ``True`` differ).

    Raises ``SpaceError`` for a value that is no finite number, text or truth value.

    >>> Choice({"width": 16, "kernel": 3}).key
    '{"kernel":3,"width":16}'
    """

    __slots__ = ("_values", "key")

    key: str
    """Canonical JSON text: equal for equal choices, whatever the order of their names."""

    def __init__(self, values: Mapping[str, Value]) -> None:
        for name, value in values.items():
            if type(value) not in (int, float, str, bool) or (
                isinstance(value, float) and not math.isfinite(value)
            ):
                raise SpaceError(
                    f"choice {name!r} must be a finite number, text or truth value, but got {value!r}"
                )
        self._values = dict(values)
        self.key = json.dumps(self._values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    def __getitem__(self, name: str) -> Value:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        return self.key == other.key if isinstance(other, Choice) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return f"Choice({self._values!r})"
