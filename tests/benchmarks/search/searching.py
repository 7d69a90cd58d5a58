"""One search of a table by the code of a real one: what it evaluated, and how long each proposal took."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from results.candidate import Candidate
from results.measurement import Measurement
from results.store import RunStore
from search.proposer import Proposal, Proposer
from spaces.choice import Value
from tests.benchmarks.search.table import Table, TableSpace

POPULATION = 20
"""Start-up trials of the peers, and the population of those that have one."""


@dataclass
class Trace:
    """The rows whose accuracy was asked for, in order, and the seconds that each proposal took."""

    rows: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def search_table(
    table: Table, sampler: str, seed: int, evaluations: int, elsewhere: Sequence[Sequence[Candidate]] = ()
) -> Trace:
    """Search with one of ``search --sampler``. Only accuracies count as evaluations, as only training costs.

    ``elsewhere`` are the candidates of earlier searches (``search --warm-start``). A candidate over the limit on
    latency is infeasible and one without a latency fails, both for nothing.
    """
    space, trace = TableSpace(table), Trace()
    with tempfile.TemporaryDirectory(prefix="understudy-bench-") as folder:
        # The start-up and population of Optuna's samplers are a sixth of the trials.
        proposer = Proposer(
            space,
            RunStore.create(Path(folder) / "run"),
            table.goals,
            sampler,
            seed,
            6 * POPULATION,
            partial(known_latency, table, space),
            elsewhere,
        )
        while len(trace.rows) < evaluations:
            start = time.perf_counter()
            proposal = proposer.propose()
            trace.seconds.append(time.perf_counter() - start)
            if proposal is None:
                break
            candidate = evaluated(table, space, proposal)
            if candidate.state == "done":
                trace.rows.append(space.row(proposal.choice))
            proposer.conclude(candidate)
    return trace


def taught(table: Table, trace: Trace) -> list[Candidate]:
    """What a search leaves in its record of those whose accuracy it asked for."""
    space = TableSpace(table)
    proposals = [
        Proposal(number, table.choices[row], space.signature(table.choices[row]))
        for number, row in enumerate(trace.rows)
    ]
    return [evaluated(table, space, proposal) for proposal in proposals]


def known_latency(
    table: Table, space: TableSpace, name: str, choices: Sequence[Mapping[str, Value]]
) -> NDArray[np.float64] | None:
    """What a search may know of costs beforehand: the latency, infinite for what cannot be had."""
    if name != "latency":
        return None
    seconds = table.latency[[space.row(choice) for choice in choices]]
    return np.where(np.isnan(seconds), np.inf, seconds)


def evaluated(table: Table, space: TableSpace, proposal: Proposal) -> Candidate:
    """The outcome that the table has for a proposal."""
    row = space.row(proposal.choice)

    def outcome(state: str, reason: str, **figures: Measurement) -> Candidate:
        return Candidate(proposal.number, dict(proposal.choice), proposal.key, state, reason, figures)  # type: ignore[arg-type]

    if not table.latency[row] > 0:
        return outcome("failed", "the table has no latency of it")
    latency = Measurement(float(table.latency[row]), "s")
    broken = table.goals.violation({"latency": latency})
    if broken:
        return outcome("infeasible", broken, latency=latency)
    return outcome("done", "", latency=latency, accuracy=Measurement(float(table.accuracy[row]), "share"))


Search = Callable[[Table, int, int], Trace]
"""A method of searching: of a table, with a seed, until so many accuracies are known."""
