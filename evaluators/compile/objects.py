"""Machine code of kernels, kept for all networks, runs and processes of a user on this computer."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from evaluators.sqlite_file import opened

VARIABLE = "UNDERSTUDY_OBJECTS"
"""Environment variable that names another file; empty, nothing is known or kept."""

MOST_BYTES = 256_000_000
"""Machine code that is kept; above it, what was not used for longest goes until three quarters are left."""

_WAIT_S, _DAY_S = 5.0, 86400
_TABLE = """
CREATE TABLE IF NOT EXISTS objects_1 (key TEXT PRIMARY KEY, code BLOB, digest TEXT, size INTEGER, used INTEGER)
"""
_READ = "SELECT code, digest, used FROM objects_1 WHERE key = ?"
_STORE = "INSERT OR REPLACE INTO objects_1 VALUES (?, ?, ?, ?, ?)"
_USED = "UPDATE objects_1 SET used = ? WHERE key = ?"
_SIZE = "SELECT COALESCE(SUM(size), 0) FROM objects_1"
_FORGET = """
DELETE FROM objects_1 WHERE key IN (
    SELECT key FROM (SELECT key, SUM(size) OVER (ORDER BY used DESC, key) AS upto FROM objects_1) WHERE upto > ?
)
"""


def default_objects() -> Objects | None:
    """The file named by ``UNDERSTUDY_OBJECTS`` or in the user's cache folder; None when the variable is empty."""
    given = os.environ.get(VARIABLE)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return None if given == "" else Objects(Path(given) if given else cache / "understudy" / "objects.sqlite")


@dataclass(frozen=True)
class Objects:
    """A SQLite file of object code by content (WAL: any number of processes may use it, and be killed).

    What was damaged on disk is not handed out. A file that cannot be used never stops a compilation: it is said
    once, and every kernel is compiled.
    """

    path: Path
    most_bytes: int = MOST_BYTES

    def read(self, keys: Sequence[str]) -> dict[str, bytes]:
        """The code of those keys that are known."""
        found: dict[str, bytes] = {}
        today = int(time.time()) // _DAY_S
        with self._forgiven(), opened(self.path, (_TABLE,), _WAIT_S) as connection, connection:
            for key in keys:
                for code, digest, used in connection.execute(_READ, (key,)):
                    if _digest(code) == digest:
                        found[key] = code
                    if used < today:  # so that most compilations write nothing
                        connection.execute(_USED, (today, key))
        return found

    def store(self, codes: Mapping[str, bytes]) -> None:
        """Keep machine code; the oldest is forgotten where there is too much."""
        today = int(time.time()) // _DAY_S
        rows = [(key, code, _digest(code), len(code), today) for key, code in codes.items()]
        with self._forgiven(), opened(self.path, (_TABLE,), _WAIT_S) as connection, connection:
            connection.executemany(_STORE, rows)
            if connection.execute(_SIZE).fetchone()[0] > self.most_bytes:
                connection.execute(_FORGET, (self.most_bytes * 3 // 4,))

    @contextmanager
    def _forgiven(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            warnings.warn(
                f"the file of compiled kernels {self.path} cannot be used ({error}), so all kernels are compiled "
                f"anew: delete the file, or name another with {VARIABLE}",
                stacklevel=4,
            )


def _digest(code: bytes) -> str:
    return hashlib.sha256(code).hexdigest()
