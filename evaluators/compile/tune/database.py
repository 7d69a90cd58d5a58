"""What measuring found about kernels, kept for all networks, runs and processes of a user on this computer."""

from __future__ import annotations

import hashlib
import json
import math
import os
import sqlite3
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

import tvm

from evaluators.compile.choices import Choice, Chooser, KernelKey, spelled
from evaluators.compile.tune.schedule_search import Found
from evaluators.latency.race import Lap
from evaluators.sqlite_file import opened
from hw_profiles.profile import Profile

VARIABLE = "UNDERSTUDY_KERNELS"
"""Environment variable that names another file."""

WORTH = 0.99
"""An option replaces the model's own only if it takes at most this share of its time."""

_WAIT_S = 10.0
_TABLE = """
CREATE TABLE IF NOT EXISTS kernels_1 (
    target TEXT, kernel TEXT, choice TEXT, fault TEXT, median_s REAL, low_s REAL, high_s REAL, repeats INTEGER,
    relative REAL, date TEXT, PRIMARY KEY (target, kernel, choice)
) WITHOUT ROWID
"""
_STORE = """
INSERT INTO kernels_1 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET fault = excluded.fault, median_s = excluded.median_s, low_s = excluded.low_s,
    high_s = excluded.high_s, repeats = excluded.repeats, relative = excluded.relative, date = excluded.date
WHERE excluded.repeats >= kernels_1.repeats
"""
_READ = "SELECT kernel, choice, fault, median_s, low_s, high_s, repeats, relative FROM kernels_1 WHERE target = ?"

_SCHEDULES = """
CREATE TABLE IF NOT EXISTS schedules_1 (
    target TEXT, kernel TEXT, found_for TEXT, trace TEXT, trials INTEGER, relative REAL, date TEXT,
    PRIMARY KEY (target, kernel)
) WITHOUT ROWID
"""
_READ_SCHEDULES = "SELECT kernel, found_for, trace, trials, relative FROM schedules_1 WHERE target = ?"

_FACTS = (
    *("description", "isa", "mcpu", "vector_bits", "vector_registers", "fma"),
    *("cores", "threads", "l1d_bytes", "l2_bytes", "l3_bytes"),
)

Laps = dict[str, dict[str, Lap]]
"""By kernel and choice, both as text, what was measured."""


def default_path() -> Path:
    """The file named by ``UNDERSTUDY_KERNELS``, or ``understudy/kernels.sqlite`` in the user's cache folder."""
    given = os.environ.get(VARIABLE)
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(given) if given else Path(cache) / "understudy" / "kernels.sqlite"


@dataclass(frozen=True)
class Database:
    """A SQLite file (WAL: any number of processes may read and write it, and be killed at any moment).

    A file that cannot be used never stops a compilation: it is said once, nothing is known, nothing is kept.
    A relative time compares an option with the model's own, both timed in turn, so figures of different
    hours can be compared.
    """

    path: Path

    def read(self, target: str) -> Laps:
        """Everything known of a target, in one query."""
        laps: Laps = {}
        with self._forgiven(), opened(self.path, (_TABLE, _SCHEDULES), _WAIT_S) as connection:
            for kernel, choice, fault, *figures in connection.execute(_READ, (target,)):
                laps.setdefault(kernel, {})[choice] = _lap(fault, figures)
        return laps

    def store(self, target: str, key: KernelKey, laps: Mapping[str, Lap]) -> None:
        """Keep what was measured of a kernel's choices, unless more samples of the same are there already."""
        date = datetime.now(UTC).isoformat(timespec="seconds")
        rows = [(target, str(key), choice, lap.fault, *_figures(lap), date) for choice, lap in laps.items()]
        with self._forgiven(), opened(self.path, (_TABLE, _SCHEDULES), _WAIT_S) as connection, connection:
            connection.executemany(_STORE, rows)

    def read_schedules(self, target: str) -> dict[str, tuple[Found, float]]:
        """By kernel the schedule found, and its time over that of ours, timed in turn."""
        known: dict[str, tuple[Found, float]] = {}
        with self._forgiven(), opened(self.path, (_TABLE, _SCHEDULES), _WAIT_S) as connection:
            for kernel, *found, relative in connection.execute(_READ_SCHEDULES, (target,)):
                known[kernel] = Found(*found), relative
        return known

    def store_schedule(self, target: str, key: KernelKey, found: Found, relative: float) -> None:
        """Keep a schedule in place of the one found before."""
        date = datetime.now(UTC).isoformat(timespec="seconds")
        row = (target, str(key), found.kernel, found.trace, found.trials, relative, date)
        with self._forgiven(), opened(self.path, (_TABLE, _SCHEDULES), _WAIT_S) as connection, connection:
            connection.execute("INSERT OR REPLACE INTO schedules_1 VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    @contextmanager
    def _forgiven(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            warnings.warn(
                f"the kernel database {self.path} cannot be used ({error}), so nothing is known or kept of its "
                f"kernels: delete the file, or name another with {VARIABLE}",
                stacklevel=4,
            )


def chooser(known: Mapping[str, Mapping[str, Lap]]) -> Chooser:
    """The fastest option measured where it beats the model's own by more than noise, else the model's own."""

    def choose(key: KernelKey, options: Sequence[Choice]) -> Choice:
        laps = known.get(str(key), {})
        timed = [option for option in options if _gain(laps, option) > 0]
        return max(timed, key=lambda option: _gain(laps, option), default=options[0])

    return choose


def known_chooser(profile: Profile) -> Chooser:
    """The chooser of all that the user's database knows of a target: nothing is measured."""
    return chooser(Database(default_path()).read(target_of(profile)))


def _gain(laps: Mapping[str, Lap], option: Choice) -> float:
    lap = laps.get(spelled(option))
    return WORTH - lap.relative if lap is not None and not lap.fault else -1.0


def target_of(profile: Profile) -> str:
    """What a kernel's time depends on beside the kernel: processor, threads, compiler, and our own rules."""
    facts = {name: getattr(profile, name) for name in _FACTS}
    facts |= {"tvm": tvm.__version__, "llvm": tvm.target.codegen.llvm_version_major(), "rules": _rules()}
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    return f"{profile.mcpu} {profile.threads} threads {digest}"


@lru_cache(maxsize=1)
def _rules() -> str:
    """A hash of every source that has a say in the code of a kernel."""
    compiler = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(compiler.rglob("*.py")):
        if path.parent != Path(__file__).parent:
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _figures(lap: Lap) -> tuple[float, ...]:
    return lap.median_s, lap.low_s, lap.high_s, lap.repeats, lap.relative


def _lap(fault: str, figures: Sequence[float | None]) -> Lap:
    """The lap of a row; SQLite keeps what is not a number as NULL."""
    median, low, high, repeats, relative = (math.nan if figure is None else figure for figure in figures)
    return Lap(median, low, high, int(repeats), relative, fault)
