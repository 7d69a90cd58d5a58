"""SQLite files that any number of processes read and write at once."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path


@contextmanager
def opened(path: Path, tables: Sequence[str], wait_s: float) -> Iterator[sqlite3.Connection]:
    """The file with its tables, made where it is missing; another writer is waited for.

    Raises ``sqlite3.Error`` or ``OSError`` when it cannot be used.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path, timeout=wait_s)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        for table in tables:
            connection.execute(table)
        yield connection
