"""A table of evaluated architectures as a space, and what a search of it should have found."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from results.budget import Budget
from results.goals import Goal, Goals
from results.hypervolume import hypervolume, undominated
from spaces.choice import Choice, Value
from spaces.space import Space, check_choice
from understudy import SpaceError

CHOICE = "choice:"
LATENCY = "latency_ms:"
_LEAST_MS = 0.5
_ERROR = 0.8
_LATENCY_QUANTILE = 0.95
LIMITS = (0.25, 0.5, 0.75)
"""The latency limits under which the best single network is looked for, as quantiles of the table's latencies."""


@dataclass(frozen=True)
class Table:
    """Architectures by row: their choices, accuracy (share) and latency (seconds, NaN where it is missing).

    What a search can win lies below the reference point: an error of 80 %, the ``limit`` on latency (seconds) or
    the 95th percentile. A search is for the ``objectives``.
    """

    choices: tuple[Choice, ...]
    accuracy: NDArray[np.float64]
    latency: NDArray[np.float64]
    limit: float | None = None
    objectives: tuple[str, ...] = ("accuracy", "latency")

    def within(self, limit: float, *objectives: str) -> Table:
        """The same to be searched within another limit on latency (seconds), for these objectives if any."""
        return replace(self, limit=limit, objectives=objectives or self.objectives)

    @property
    def reference(self) -> tuple[float, float]:
        """The point that hypervolume is measured from: error (share), latency (seconds)."""
        limit = float(np.nanquantile(self.latency, _LATENCY_QUANTILE)) if self.limit is None else self.limit
        return _ERROR, limit

    @property
    def goals(self) -> Goals:
        """Accuracy against latency or what was chosen, the reference as the limit on latency."""
        return Goals((Goal("", self.objectives, Budget({"latency": self.reference[1]})),))

    @property
    def limits(self) -> tuple[float, ...]:
        """The latencies (seconds) of ``LIMITS``."""
        return tuple(float(np.nanquantile(self.latency, share)) for share in LIMITS)

    def points(self, rows: Sequence[int]) -> list[tuple[float, float]]:
        """Error and latency of rows that have both."""
        return [
            (1 - float(self.accuracy[row]), float(self.latency[row]))
            for row in rows
            if np.isfinite(self.latency[row]) and np.isfinite(self.accuracy[row])
        ]

    @cached_property
    def best_volume(self) -> float:
        """The hypervolume of the whole table's front."""
        return hypervolume(undominated(self.points(range(len(self.choices)))), self.reference)

    def best_accuracy(self, rows: Sequence[int], limit: float) -> float:
        """The highest accuracy among rows within a latency limit (seconds); 0 where there is none."""
        return max((1 - error for error, latency in self.points(rows) if latency <= limit), default=0.0)


def read_table(file: Path, accuracy: str, latency: str) -> Table:
    """The table in a Parquet or CSV file, for one column of accuracies (per cent) and one of latencies (ms).

    Latencies under 0.5 ms are missing. Raises ``SystemExit`` for a column that there is not.
    """
    frame = read_frame(file)
    for column in (accuracy, latency):
        if column not in frame:
            raise SystemExit(f"{file} has no column {column!r}; it has {', '.join(map(str, frame.columns))}")
    frame = frame[frame[accuracy].notna()]
    names = [str(column) for column in frame if str(column).startswith(CHOICE)]
    rows = zip(*(frame[name].tolist() for name in names), strict=True)
    choices = [
        Choice({name.removeprefix(CHOICE): value for name, value in zip(names, row, strict=True)}) for row in rows
    ]
    measured = frame[latency].to_numpy(float)
    seconds = np.where(measured >= _LEAST_MS, measured, np.nan) / 1e3
    return Table(tuple(choices), frame[accuracy].to_numpy(float) / 100, seconds)


def read_frame(file: Path) -> pd.DataFrame:
    """The file as it is; raises ``SystemExit`` when no column of it names a choice."""
    frame = pd.read_csv(file) if file.suffix == ".csv" else pd.read_parquet(file)
    if not any(str(column).startswith(CHOICE) for column in frame):
        raise SystemExit(f"{file} names no architectures: it must have columns {CHOICE}NAME")
    return frame


class TableSpace(Space):
    """The architectures of a table. A combination of choices that it lacks is the nearest row, as in a space
    where several choices make the same network."""

    def __init__(self, table: Table) -> None:
        self.name, self.resolutions = "table", (1,)
        self.domain: Mapping[str, tuple[Value, ...]] = {
            name: tuple(sorted({choice[name] for choice in table.choices}, key=_order))
            for name in table.choices[0]
        }
        self._table = table
        self._rows = {choice: row for row, choice in enumerate(table.choices)}
        self._codes = np.array([self._code(choice) for choice in table.choices])

    def row(self, choice: Mapping[str, Value]) -> int:
        """The row of a choice."""
        checked = check_choice(self, choice)
        if checked not in self._rows:
            self._rows[checked] = int(np.argmin((self._codes != self._code(checked)).sum(1)))
        return self._rows[checked]

    def signature(self, choice: Mapping[str, Value]) -> str:
        """See ``Space.signature``."""
        return hashlib.sha256(self._table.choices[self.row(choice)].key.encode()).hexdigest()

    def build(self, choice: Mapping[str, Value]) -> Any:
        """A table holds figures, no networks."""
        raise SpaceError(f"row {self.row(choice)} of a table has no network: take its figures")

    def resolution(self, choice: Mapping[str, Value]) -> int:
        """See ``Space.resolution``."""
        return 1

    def smallest(self) -> Choice:
        """The fastest row."""
        return self._table.choices[int(np.nanargmin(self._table.latency))]

    def _code(self, choice: Choice) -> NDArray[np.int64]:
        return np.array([self.domain[name].index(value) for name, value in choice.items()])


def _order(value: Value) -> tuple[bool, Any]:
    """Numbers by size, before texts by letter."""
    return isinstance(value, str), value
