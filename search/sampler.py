"""Optuna's side of a search: samplers, a space as distributions, and the study as memory and as file."""

from __future__ import annotations

import itertools
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial

from results.measurement import metric_of
from spaces.choice import Value

STUDY = "understudy"
OURS = "understudy"
"""The sampler of ``search/samplers/``, which ``make_sampler`` does not make."""


def make_sampler(name: str, seed: int, trials: int) -> BaseSampler:
    """Optuna's sampler of that name; start-up and population sizes grow with the number of trials.

    ``tpe``: multivariate, multi-objective tree-structured Parzen estimator (Ozaki et al., 2022);
    ``nsga2``: Deb et al., 2002; ``gp``: Gaussian process with expected hypervolume improvement. All
    three take the budget as constraints; ``random`` does not look at anything.
    """
    start = max(10, trials // 6)
    with _experimental_is_fine():
        if name == "tpe":
            return TPESampler(n_startup_trials=start, multivariate=True, seed=seed)
        if name == "nsga2":
            return NSGAIISampler(population_size=start, seed=seed)
        if name == "gp":
            return GPSampler(n_startup_trials=start, seed=seed)
        return RandomSampler(seed=seed)


def distributions(domain: Mapping[str, tuple[Value, ...]]) -> dict[str, BaseDistribution]:
    """The named choices of a space for Optuna.

    Evenly spaced whole numbers are ordered (the samplers learn that 5 lies between 3 and 7), all else is
    categorical. A choice with a single value is left out: there is nothing to propose.
    """
    return {name: _distribution(values) for name, values in domain.items() if len(values) > 1}


def _distribution(values: tuple[Value, ...]) -> BaseDistribution:
    numbers = [value for value in values if isinstance(value, int) and not isinstance(value, bool)]
    steps = {high - low for low, high in itertools.pairwise(numbers)}
    if len(numbers) == len(values) and len(steps) == 1 and min(steps) > 0:
        return IntDistribution(numbers[0], numbers[-1], step=steps.pop())
    return CategoricalDistribution(values)


def new_study(sampler: BaseSampler | None, objectives: Sequence[str], file: Path | None = None) -> optuna.Study:
    """A study in memory, or in a journal file that ``optuna-dashboard FILE`` opens (new or continued).

    The caller holds the run's lock: nobody else writes the file.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        storage=None if file is None else JournalStorage(_OwnJournal(file)),
        sampler=sampler,
        study_name=STUDY,
        directions=["maximize" if metric_of(name).maximise else "minimize" for name in objectives],
        load_if_exists=True,
    )
    with _experimental_is_fine():
        study.set_metric_names(list(objectives))
    return study


def trials_in_file(file: Path, objectives: Sequence[str]) -> tuple[FrozenTrial, ...]:
    """The trials kept in a study's file; none when it is missing or torn by a kill."""
    if not _is_whole(file):
        return ()
    try:
        return tuple(optuna.load_study(study_name=STUDY, storage=JournalStorage(_OwnJournal(file))).get_trials())
    except KeyError:
        return ()


class _OwnJournal(JournalFileBackend):
    """Optuna's journal of one writer: without its lock, and without its sync of every line.

    For many workers those are the better part of what a driver waits for. The record is the truth and is synced; a
    journal that a power failure leaves behind it or torn is written anew from there.
    """

    def __init__(self, file: Path) -> None:
        super().__init__(str(file))
        self._path = file

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Add lines to the file."""
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        with self._path.open("ab") as file:
            file.write(lines.encode())


def _is_whole(file: Path) -> bool:
    """Whether every line of a journal is there to its end."""
    lines = file.read_bytes().split(b"\n") if file.exists() else [b"-"]
    try:
        return not lines.pop() and all(isinstance(json.loads(line), dict) for line in lines)
    except ValueError:
        return False


@contextmanager
def _experimental_is_fine() -> Iterator[None]:
    """Without Optuna's note that a feature may still change: the version is pinned."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield
