"""NNI's regularised evolution (Real et al., 2019, arXiv:1802.01548) with the evaluator of our search.

It knows one objective: accuracy, under a limit on latency. Each worker evolves under a limit of its own.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from evaluators.candidate import Outcome, evaluate_candidate
from results.candidate import Candidate
from results.store import RunStore
from search.plan import Plan
from search.worker_process import settle_worker
from spaces.choice import Choice
from spaces.space import Space
from understudy import UnderstudyError

POPULATION, SAMPLE = 10, 5
_MODELS = 100_000


def evolve(plan: Plan, store: Path, seconds: float, place: int, places: int, share: float) -> int:
    """One evolution, of students within a share of the latency limit; how many candidates it evaluated.

    It writes those numbered ``place``, ``place + places``, ... into the run's record.
    """
    import nni
    import torch
    from nni.nas.evaluator import FunctionalEvaluator
    from nni.nas.execution import SequentialExecutionEngine
    from nni.nas.nn.pytorch import ModelSpace
    from nni.nas.space import RawFormatModelSpace
    from nni.nas.strategy import RegularizedEvolution

    logging.getLogger("nni").setLevel(logging.ERROR)
    bench, record = plan.open((), settle_worker()), RunStore(store)
    space: Space = bench.space
    limit = share * bench.goals.each[0].budget.limits["latency"]
    began, count = time.monotonic(), 0
    known: dict[str, Outcome] = {}

    class Choices(ModelSpace):  # type: ignore[misc]
        """The choices of the space, without networks."""

        def __init__(self) -> None:
            super().__init__()
            for name, values in space.domain.items():
                self.add_mutable(nni.choice(name, list(values)))

        def freeze(self, sample: Mapping[str, Any]) -> torch.nn.Module:
            self.validate(sample)
            network = torch.nn.Module()
            network.choice = Choice(sample)  # type: ignore[assignment]
            return network

    class Engine(SequentialExecutionEngine):  # type: ignore[misc]
        def budget_available(self) -> bool:
            return time.monotonic() - began < seconds and self._model_count < _MODELS

    def evaluate(network: Any) -> None:
        nonlocal count
        choice: Choice = network.choice
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
        if found.state == "done" and found.measurements["latency"].value <= limit:
            nni.report_final_result(found.measurements["accuracy"].value)

    model = RawFormatModelSpace.from_model(Choices())
    model.evaluator = FunctionalEvaluator(evaluate)
    RegularizedEvolution(population_size=POPULATION, sample_size=SAMPLE, seed=place)(model, Engine())
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
