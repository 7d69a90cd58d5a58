"""The strategy of a search as an Optuna sampler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial, TrialState

from results.candidate import Candidate
from search.samplers.strategy import Fresh, Strategy


class UnderstudySampler(BaseSampler):
    """Asks a ``Strategy`` for whole choices; ``space`` is what each may be.

    ``record`` are the candidates that ended, a list that grows: unlike Optuna's trials they tell what was measured
    of those that were not taught. Trials that run are taken from the study. Where the strategy has nothing left
    that is ``fresh``, choices are drawn at random.
    """

    def __init__(
        self,
        strategy: Strategy,
        space: Mapping[str, BaseDistribution],
        record: Sequence[Candidate],
        fresh: Fresh,
        seed: int,
    ) -> None:
        self._strategy, self._space, self._record, self._fresh = strategy, dict(space), record, fresh
        self._seed, self._random = seed, RandomSampler(seed)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """All choices at once."""
        return self._space

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: Mapping[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The choice that the strategy proposes; it is not asked for what the study was told to try."""
        if "fixed_params" in trial.system_attrs:
            return {}
        running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        pending = [each.params for each in running if each.number != trial.number and each.params]
        state = np.random.SeedSequence([self._seed, len(self._record) + len(pending)]).generate_state(1)
        self._random = RandomSampler(int(state[0]))  # the same in a resumed search
        return self._strategy.propose(self._record, pending, self._fresh) or {}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A value at random."""
        return self._random.sample_independent(study, trial, param_name, param_distribution)
