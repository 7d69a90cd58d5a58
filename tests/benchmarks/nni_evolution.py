"""NNI's regularised evolution (Real et al., 2019, arXiv:1802.01548) over the choices of a space."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from spaces.choice import Choice, Value


def evolve_choices(
    domain: Mapping[str, tuple[Value, ...]],
    evaluate: Callable[[Choice], float | None],
    goes_on: Callable[[int], bool],
    population: int,
    sample: int,
    seed: int,
) -> None:
    """Evolve choices as NNI's own engine does, without networks.

    ``evaluate`` gives what is to be maximised, None for a choice that is no member of the population; ``goes_on``
    is asked before each, with how many were evaluated.
    """
    import nni
    import torch
    from nni.nas.evaluator import FunctionalEvaluator
    from nni.nas.execution import SequentialExecutionEngine
    from nni.nas.nn.pytorch import ModelSpace
    from nni.nas.space import RawFormatModelSpace
    from nni.nas.strategy import RegularizedEvolution

    logging.getLogger("nni").setLevel(logging.ERROR)

    class Choices(ModelSpace):  # type: ignore[misc]
        """The choices, without networks."""

        def __init__(self) -> None:
            super().__init__()
            for name, values in domain.items():
                self.add_mutable(nni.choice(name, list(values)))

        def freeze(self, sample: Mapping[str, Any]) -> torch.nn.Module:
            self.validate(sample)
            network = torch.nn.Module()
            network.choice = Choice(sample)  # type: ignore[assignment]
            return network

    class Engine(SequentialExecutionEngine):  # type: ignore[misc]
        def budget_available(self) -> bool:
            return goes_on(self._model_count)

    def report(network: Any) -> None:
        found = evaluate(network.choice)
        if found is not None:
            nni.report_final_result(found)

    model = RawFormatModelSpace.from_model(Choices())
    model.evaluator = FunctionalEvaluator(report)
    RegularizedEvolution(population_size=population, sample_size=sample, seed=seed)(model, Engine())
