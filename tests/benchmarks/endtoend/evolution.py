"""NNI's regularised evolution (Real et al., 2019, arXiv:1802.01548) with the evaluator of our search.

It knows one objective: accuracy, under a limit on latency. Each worker evolves under a limit of its own.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import torch

from evaluators.candidate import Outcome, evaluate_candidate
from evaluators.distill.allocator import keep_freed_memory
from results.candidate import Candidate
from results.store import RunStore
from search.plan import Plan
from spaces.choice import Choice
from spaces.space import Space
from tests.benchmarks.nni_evolution import evolve_choices
from understudy import UnderstudyError

POPULATION, SAMPLE = 10, 5
_MODELS = 100_000


def evolve(plan: Plan, store: Path, seconds: float, place: int, places: int, share: float) -> int:
    """One evolution, of students within a share of the latency limit; how many candidates it evaluated.

    It writes those numbered ``place``, ``place + places``, ... into the run's record.
    """
    keep_freed_memory()
    torch.set_num_threads(1)
    bench = plan.open((), "cuda" if torch.cuda.is_available() else "cpu")
    record = RunStore(store)
    space: Space = bench.space
    limit = share * bench.goals.each[0].budget.limits["latency"]
    began, count = time.monotonic(), 0
    known: dict[str, Outcome] = {}

    def evaluate(choice: Choice) -> float | None:
        nonlocal count
        key = space.signature(choice)
        if key not in known:
            number = place + places * count
            count += 1
            try:
                known[key] = evaluate_candidate(bench, choice, number)
            except UnderstudyError as error:
                known[key] = Outcome("failed", {}, {}, str(error))
            record.append(_candidate(number, choice, key, known[key], time.monotonic() - began))
        found = known[key]
        inside = found.state == "done" and found.measurements["latency"].value <= limit
        return found.measurements["accuracy"].value if inside else None

    def goes_on(models: int) -> bool:
        return time.monotonic() - began < seconds and models < _MODELS

    evolve_choices(space.domain, evaluate, goes_on, POPULATION, SAMPLE, seed=place)
    return count


def _candidate(number: int, choice: Choice, key: str, outcome: Outcome, elapsed: float) -> Candidate:
    made = Candidate(number, dict(choice), key, outcome.state, outcome.reason)
    return replace(
        made,
        measurements=outcome.measurements,
        seconds=outcome.seconds,
        elapsed=elapsed,
        taught_by=outcome.taught_by,
    )
