"""The methods of a benchmark by name, and one search by one of them, in any process."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from search.config import SAMPLERS
from search.sampler import OURS
from tests.benchmarks.search.peers import peers
from tests.benchmarks.search.report import REGRET_AFTER, row_of
from tests.benchmarks.search.searching import Search, Trace, search_table, taught
from tests.benchmarks.search.table import Table, read_table

WARM = f"{OURS}, warm"
"""Our search that begins with the record of an earlier one, of other accuracies on another device."""
_EARLIER = 100
_OTHER_SEED = 1_000


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
    seed, evaluations = key["seed"], key["evaluations"]
    search = _after(key) if key["method"] == WARM else methods()[0][key["method"]]
    few = min(REGRET_AFTER, evaluations)
    limited, alone = (
        [search(table.within(limit, *objectives), seed, few) for limit in table.limits]
        for objectives in ((), ("accuracy",))
    )
    return row_of(table, search(table, seed, evaluations), limited, alone)


def _after(key: dict[str, Any]) -> Search:
    """Our search after one of the column of accuracies and the device that are named as ``earlier``."""
    table = read_table(Path(key["table"]), *key["earlier"])
    earlier = taught(table, search_table(table, OURS, key["seed"] + _OTHER_SEED, _EARLIER))

    def search(table: Table, seed: int, evaluations: int) -> Trace:
        return search_table(table, OURS, seed, evaluations, [earlier])

    return search
