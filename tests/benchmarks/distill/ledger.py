"""What was trained or timed already: a line of JSON each, so that a benchmark that was killed goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Row = dict[str, Any]


class Ledger:
    """Rows by their key (what they depend on), kept in a file as soon as they are known."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: dict[str, Row] = {}
        if path.exists():
            for line in path.read_text().splitlines():
                self._remember(line)

    def row(self, key: Mapping[str, Any], make: Callable[[], Row]) -> Row:
        """The row of a key, made now if the file has none."""
        text = json.dumps(key, sort_keys=True)
        if text not in self._rows:
            self._rows[text] = {**key, **make()}
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a") as file:
                file.write(json.dumps({"key": key, "row": self._rows[text]}) + "\n")
        return self._rows[text]

    def get(self, key: Mapping[str, Any]) -> Row | None:
        """The row of a key, if it is known."""
        return self._rows.get(json.dumps(key, sort_keys=True))

    def _remember(self, line: str) -> None:
        try:
            entry = json.loads(line)
        except ValueError:  # torn by a kill
            return
        self._rows[json.dumps(entry["key"], sort_keys=True)] = entry["row"]
