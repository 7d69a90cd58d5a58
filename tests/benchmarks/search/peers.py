"""Searches of others on the same table: NNI's regularised evolution and Syne Tune's multi-objective searchers."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from functools import partial
from itertools import zip_longest
from typing import Any

import numpy as np

from spaces.choice import Choice
from tests.benchmarks.nni_evolution import evolve_choices
from tests.benchmarks.search.searching import POPULATION, Search, Trace
from tests.benchmarks.search.table import Table, TableSpace

_SHARES = (0.25, 0.5, 0.75, 1.0)
"""NNI's evolution knows one objective: it is run under each of these shares of the limit's quantile."""
_MODELS_AN_EVALUATION = 20
SYNE_TUNE = "syne_tune.optimizer.schedulers.multiobjective"


def nni_evolution(table: Table, seed: int, evaluations: int) -> Trace:
    """NNI's regularised evolution (Real et al., 2019) of accuracy under the table's limit, or four in turn."""
    limits = [float(np.nanquantile(table.latency, 0.95 * share)) for share in _SHARES]
    limits = limits if table.limit is None else [table.limit]
    traces = [_evolved(table, limit, seed, evaluations // len(limits) + 1) for limit in limits]
    rows = [row for turn in zip_longest(*(trace.rows for trace in traces)) for row in turn if row is not None]
    return Trace(list(dict.fromkeys(rows))[:evaluations], [time for trace in traces for time in trace.seconds])


def _evolved(table: Table, limit: float, seed: int, evaluations: int) -> Trace:
    """One evolution. A network over the limit is no evaluation, and no member of the population."""
    space, trace = TableSpace(table), Trace()

    def evaluate(choice: Choice) -> float | None:
        nonlocal asked
        trace.seconds.append(time.perf_counter() - asked)
        row = space.row(choice)
        inside = bool(table.latency[row] <= limit)
        if inside and row not in trace.rows:
            trace.rows.append(row)
        asked = time.perf_counter()
        return float(table.accuracy[row]) if inside else None

    def goes_on(models: int) -> bool:
        return len(trace.rows) < evaluations and models < _MODELS_AN_EVALUATION * evaluations

    asked = time.perf_counter()
    population = max(2, POPULATION // 2)
    evolve_choices(space.domain, evaluate, goes_on, population, max(2, population // 2), seed)
    return trace


def _syne_tune(make: Callable[[dict[str, Any], int], Any], table: Table, seed: int, evaluations: int) -> Trace:
    """A searcher of Syne Tune, told error and latency as shares of the reference."""
    from syne_tune.config_space import choice

    space, trace = TableSpace(table), Trace()
    searcher = make({name: choice(list(values)) for name, values in space.domain.items()}, seed)
    reference = np.array(table.reference)
    tried = 0
    while len(trace.rows) < evaluations and tried < _MODELS_AN_EVALUATION * evaluations:
        start = time.perf_counter()
        config = searcher.suggest()
        trace.seconds.append(time.perf_counter() - start)
        row = space.row(config)
        if table.latency[row] <= reference[1]:
            figures = np.array([1 - table.accuracy[row], table.latency[row]]) / reference
            if row not in trace.rows:
                trace.rows.append(row)
        else:  # infeasible or without a latency: as bad as can be, for nothing
            figures = np.array([2.0, 2.0])
        searcher.on_trial_complete(tried, config, figures.tolist())
        tried += 1
    return trace


def _mo_evolution(space: dict[str, Any], seed: int) -> Any:
    found = importlib.import_module(f"{SYNE_TUNE}.multi_objective_regularized_evolution")
    return found.MultiObjectiveRegularizedEvolution(
        space, population_size=POPULATION, sample_size=POPULATION // 4, random_seed=seed
    )


def peers() -> tuple[dict[str, Search], list[str]]:
    """The methods of others by name, and a line for each library that is missing."""
    found: dict[str, Search] = {"nni-evolution": nni_evolution}
    try:
        importlib.import_module(SYNE_TUNE)
    except ImportError as error:
        return found, [f"Syne Tune is left out ({error}): pip install syne-tune"]
    return {**found, "syne-tune-mo-evolution": partial(_syne_tune, _mo_evolution)}, []
