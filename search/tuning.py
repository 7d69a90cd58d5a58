"""The search itself on Ray Tune: workers evaluate what the proposer hands out."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Any

from results.candidate import Candidate
from results.store import RunStore
from search.patience import has_stalled
from search.plan import Plan
from search.proposer import Proposer
from understudy import RunError

if TYPE_CHECKING:
    from search.device_actor import Devices
    from search.searcher import ProposerSearcher

_LOSSES = 20
"""Workers that a candidate may be given to before one begins on it: machines that are lost one after the other."""
_STORAGE = "tune-"


def tune_candidates(
    plan: Plan, devices: Devices, proposer: Proposer, workers: int, on_candidate: Callable[[Candidate], None]
) -> str:
    """Evaluate candidates on ``devices`` until the configuration's trials, time or patience are used up.

    Returns what ended it: ``trials``, ``time``, ``front no longer improving``, ``space exhausted`` or
    ``interrupted``.

    Ctrl-C ends it after what is recorded. A worker that dies is replaced and its candidate tried once more;
    workers of a lost machine that had not begun on it do not count.
    Raises ``RunError`` when the record cannot be written any more.
    """
    from ray import tune

    from evaluators.candidate import training_file
    from search.ladder import Ladder
    from search.searcher import ProposerSearcher
    from search.trainable import CandidateTrial

    config, scratch = plan.config, plan.run / ".scratch"
    ladder = Ladder(plan.rungs(), config.goals.objectives, config.trials)
    ladder.resume(RunStore(plan.run).paused(), proposer.candidates)

    def heard(candidate: Candidate) -> None:
        if candidate.state != "paused":
            training_file(scratch, candidate.number).unlink(missing_ok=True)
        on_candidate(candidate)

    def stalled() -> bool:
        return config.patience is not None and has_stalled(proposer.candidates, config.goals, config.patience)

    searcher = ProposerSearcher(
        proposer, ladder, config.trials, config.time_limit, heard, plan.quiet().working, workers, stalled
    )
    run_trials(tune.with_parameters(CandidateTrial, plan=plan, devices=devices), searcher, workers, scratch)
    if searcher.error is not None:
        raise RunError(str(searcher.error)) from searcher.error
    if searcher.unfinished:
        return "interrupted"
    rmtree(scratch / "trainings", ignore_errors=True)
    return searcher.ended_by


def run_trials(trainable: Any, searcher: ProposerSearcher, workers: int, scratch: Path) -> None:
    """Have Tune run what the searcher hands out, to its end; which trials paused where is kept in ``scratch``."""
    from ray import tune

    from search.scheduler import Beginnings, RungScheduler
    from search.worker_process import resources

    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(workers)
    scratch.mkdir(exist_ok=True)
    for leftover in scratch.glob(f"{_STORAGE}*"):  # of a driver that was killed
        rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=_STORAGE, dir=scratch) as storage:
        tuner = tune.Tuner(
            tune.with_resources(trainable, tune.PlacementGroupFactory([resources(workers)])),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=RungScheduler(searcher),
                num_samples=-1,  # the searcher says when it is enough
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                storage_path=storage,
                callbacks=[Beginnings(searcher)],
                name="search",
                verbose=0,
                checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
                failure_config=tune.FailureConfig(max_failures=_LOSSES),
            ),
        )
        with _own_signals():
            tuner.fit()


@contextmanager
def _own_signals() -> Iterator[None]:
    """Tune takes over Ctrl-C while it runs and does not give it back; take it back."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGUSR1)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
