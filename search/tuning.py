"""The search itself on Ray Tune: workers evaluate what the proposer hands out."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from results.candidate import Candidate
from search.plan import Plan
from search.proposer import Proposer
from understudy import RunError

if TYPE_CHECKING:
    from search.device_actor import Devices

WORKER_RETRIES = 1


def tune_candidates(
    plan: Plan, devices: Devices, proposer: Proposer, workers: int, on_candidate: Callable[[Candidate], None]
) -> str:
    """Evaluate candidates on ``devices`` until the configuration's trials or time are used up.

    Returns what ended it: ``trials``, ``time``, ``space exhausted`` or ``interrupted``.

    Ctrl-C ends it after what is recorded. A worker that dies is replaced and its candidate tried once more.
    Raises ``RunError`` when the record cannot be written any more.
    """
    from ray import tune

    from search.searcher import ProposerSearcher
    from search.trainable import CandidateTrial
    from search.worker_process import resources

    config = plan.config
    searcher = ProposerSearcher(proposer, config.trials, config.time_limit, on_candidate, plan.quiet().working)
    trainable = tune.with_resources(
        tune.with_parameters(CandidateTrial, plan=plan, devices=devices),
        tune.PlacementGroupFactory([resources(workers)]),
    )
    with tempfile.TemporaryDirectory(prefix="understudy-tune-") as storage:
        tuner = tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                num_samples=config.trials,
                max_concurrent_trials=workers,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                storage_path=storage,
                name="search",
                verbose=0,
                checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
                failure_config=tune.FailureConfig(max_failures=WORKER_RETRIES),
            ),
        )
        with _own_signals():
            tuner.fit()
    if searcher.error is not None:
        raise RunError(str(searcher.error)) from searcher.error
    if searcher.unfinished:
        return "interrupted"
    return searcher.ended_by


@contextmanager
def _own_signals() -> Iterator[None]:
    """Tune takes over Ctrl-C while it runs and does not give it back; take it back."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGUSR1)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
