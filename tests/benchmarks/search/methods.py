"""The methods of a benchmark by name, and one search by one of them, in any process."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from search.config import SAMPLERS
from tests.benchmarks.search.peers import peers
from tests.benchmarks.search.report import row_of
from tests.benchmarks.search.searching import Search, Trace, search_table
from tests.benchmarks.search.table import Table, read_table


def methods() -> tuple[dict[str, Search], list[str]]:
    """The methods by name: those of ``search --sampler`` and those of others; and what is left out, and why."""
    found, missing = peers()
    own: dict[str, Search] = {name: partial(_by_sampler, name) for name in SAMPLERS}
    return own | found, missing


def _by_sampler(name: str, table: Table, seed: int, evaluations: int) -> Trace:
    return search_table(table, name, seed, evaluations)


def searched(key: dict[str, Any]) -> dict[str, Any]:
    """The row of one search."""
    table = read_table(Path(key["table"]), key["accuracy"], key["latency"])
    return row_of(table, methods()[0][key["method"]](table, key["seed"], key["evaluations"]))
