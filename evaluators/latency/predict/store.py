"""What was timed of kernels and networks, on every device, kept for all predictions of a user."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from evaluators.compile.kernel_facts import KernelFacts, compiler_version
from evaluators.compile.tune.database import default_path
from evaluators.latency.predict.correction import Timed
from evaluators.latency.predict.predictor import Predictor, TimedNetwork
from evaluators.sqlite_file import opened
from hw_profiles.gpu import Gpu
from hw_profiles.profile import Profile
from understudy import MeasureError

_WAIT_S = 10.0
_TABLES = (
    """
CREATE TABLE IF NOT EXISTS devices_1 (device TEXT PRIMARY KEY, profile TEXT) WITHOUT ROWID
""",
    """
CREATE TABLE IF NOT EXISTS kernels_1 (
    device TEXT, key TEXT, rule TEXT, counts TEXT, seconds REAL, date TEXT, PRIMARY KEY (device, key)
) WITHOUT ROWID
""",
    """
CREATE TABLE IF NOT EXISTS networks_1 (
    device TEXT, kernels TEXT, seconds REAL, date TEXT, PRIMARY KEY (device, kernels)
) WITHOUT ROWID
""",
)
_FACTS = (
    *("description", "isa", "mcpu", "vector_bits", "vector_registers", "vector_pipes", "fma", "cores", "threads"),
    *("l1d_bytes", "l2_bytes", "l3_bytes"),
)


def latency_path() -> Path:
    """``latency.sqlite`` beside the database of tuned kernels."""
    return default_path().with_name("latency.sqlite")


def device_of(profile: Profile) -> str:
    """What tells devices apart on which the same code takes different times: processor, threads, compiler."""
    facts = {name: getattr(profile, name) for name in _FACTS}
    facts["compiler"] = compiler_version()
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    return f"{profile.mcpu} {profile.threads} threads {digest}"


@dataclass(frozen=True)
class LatencyStore:
    """A SQLite file (WAL: any number of processes may read and write it). A kernel is its scheduled code."""

    path: Path

    def add(self, profile: Profile, kernels: Iterable[Timed], networks: Iterable[TimedNetwork] = ()) -> None:
        """Keep what was timed on a device of the profile; newer figures replace older ones.

        Raises ``MeasureError`` when the file cannot be written.
        """
        device, date = device_of(profile), datetime.now(UTC).isoformat(timespec="seconds")
        rows = [
            (device, each.facts.key, each.facts.rule, json.dumps(dict(each.facts.counts)), each.seconds, date)
            for each in kernels
        ]
        whole = [(device, _spelled(each.kernels), each.seconds, date) for each in networks]
        with self._opened() as connection, connection:
            connection.execute("INSERT OR REPLACE INTO devices_1 VALUES (?, ?)", (device, _profile_text(profile)))
            connection.executemany("INSERT OR REPLACE INTO kernels_1 VALUES (?, ?, ?, ?, ?, ?)", rows)
            connection.executemany("INSERT OR REPLACE INTO networks_1 VALUES (?, ?, ?, ?)", whole)

    def keys(self, profile: Profile) -> set[str]:
        """The kernels that were timed on the device; raises ``MeasureError`` when the file cannot be read."""
        with self._opened() as connection:
            rows = connection.execute("SELECT key FROM kernels_1 WHERE device = ?", (device_of(profile),))
            return {key for (key,) in rows}

    def predictor(self, profile: Profile) -> Predictor:
        """A predictor of the device, from everything kept; raises ``MeasureError`` when it cannot be read."""
        device = device_of(profile)
        with self._opened() as connection:
            profiles = dict(connection.execute("SELECT device, profile FROM devices_1").fetchall())
            rows = connection.execute("SELECT device, key, rule, counts, seconds FROM kernels_1").fetchall()
            whole = connection.execute(
                "SELECT kernels, seconds FROM networks_1 WHERE device = ?", (device,)
            ).fetchall()
        known = {name: _profile(text) for name, text in profiles.items()} | {device: profile}
        timed = [
            (where, Timed(KernelFacts(key, rule, 1, json.loads(counts)), seconds, known[where]))
            for where, key, rule, counts, seconds in rows
        ]
        here = {each.facts.key: each for where, each in timed if where == device}
        networks = [TimedNetwork(found, seconds) for text, seconds in whole if (found := _kernels(text, here))]
        return Predictor(profile, here, networks, [each for where, each in timed if where != device])

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        try:
            with opened(self.path, _TABLES, _WAIT_S) as connection:
                yield connection
        except (sqlite3.Error, OSError) as error:
            raise MeasureError(
                f"the latencies in {self.path} cannot be used ({error}): delete the file, or free some space"
            ) from error


def _spelled(kernels: Sequence[KernelFacts]) -> str:
    return json.dumps([[kernel.key, kernel.calls] for kernel in kernels])


def _kernels(text: str, timed: dict[str, Timed]) -> tuple[KernelFacts, ...]:
    """The kernels of a network, or none where one of them was not timed."""
    pairs = json.loads(text)
    if not all(key in timed for key, _ in pairs):
        return ()
    return tuple(dataclasses.replace(timed[key].facts, calls=calls) for key, calls in pairs)


def _profile_text(profile: Profile) -> str:
    return json.dumps(dataclasses.asdict(profile))


def _profile(text: str) -> Profile:
    data: dict[str, Any] = json.loads(text)
    gpu = data.pop("gpu")
    return Profile(**{**data, "features": tuple(data["features"])}, gpu=gpu and Gpu(**gpu))
