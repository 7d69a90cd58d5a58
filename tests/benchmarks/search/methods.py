"""The methods of a benchmark by name, and one search by one of them, in any process."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from search.config import SAMPLERS
from tests.benchmarks.search.peers import peers
from tests.benchmarks.search.report import REGRET_AFTER, row_of
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
    """The row of one search, and of short ones within each limit, for the front and for accuracy alone."""
    table = read_table(Path(key["table"]), key["accuracy"], key["latency"])
    search, seed, evaluations = methods()[0][key["method"]], key["seed"], key["evaluations"]
    few = min(REGRET_AFTER, evaluations)
    limited, alone = (
        [search(table.within(limit, *objectives), seed, few) for limit in table.limits]
        for objectives in ((), ("accuracy",))
    )
    return row_of(table, search(table, seed, evaluations), limited, alone)
