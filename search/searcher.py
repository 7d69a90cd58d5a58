"""The proposer as Ray Tune's searcher: Tune asks when it has a free worker and says how a trial ended."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from ray.tune.search import Searcher

from results.candidate import Candidate
from search.proposer import Proposal, Proposer
from understudy import RunError, UnderstudyError

FINISHED: str = Searcher.FINISHED


class ProposerSearcher(Searcher):
    """Hands out proposals until ``trials`` are in the record, ``time_limit`` seconds have passed, or none is left.

    ``on_candidate`` hears of each finished candidate once it is safely in the record; ``working`` is entered
    around proposing, which would disturb a measurement. What ends the search for all candidates (a full disk, a
    worker that cannot start) is kept in ``error`` for the driver to raise.
    """

    def __init__(
        self,
        proposer: Proposer,
        trials: int,
        time_limit: float | None,
        on_candidate: Callable[[Candidate], None],
        working: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        super().__init__()
        self._working = working
        self._proposer, self._on_candidate = proposer, on_candidate
        self._left = trials - len(proposer.candidates)
        self._before = max((candidate.elapsed for candidate in proposer.candidates), default=0.0)
        self._start = time.monotonic()
        self._limit = time_limit
        self._proposals: dict[str, Proposal] = {}
        self.error: UnderstudyError | None = None
        self.ended_by = "trials"

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next candidate for a free worker."""
        if self.error is not None or self._left <= 0:
            return FINISHED
        if self._limit is not None and self._elapsed() >= self._limit:
            self.ended_by = "time"
            return FINISHED
        with self._working():
            proposal = self._proposer.propose()
        if proposal is None:
            self.ended_by = "space exhausted"
            return FINISHED
        self._left -= 1
        self._proposals[trial_id] = proposal
        known = {name: figure.to_json() for name, figure in proposal.known.items()}
        return {
            "number": proposal.number,
            "choice": dict(proposal.choice),
            "key": proposal.key,
            "known": json.dumps(known),
        }

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Record how a trial ended; one that Tune stopped before it had an outcome leaves no trace."""
        proposal = self._proposals.get(trial_id)
        if result and "problem" in result:
            self.error = self.error or RunError(result["problem"])
        finished = bool(result and "candidate" in result)
        if proposal is None or self.error is not None or not (finished or error):
            return
        del self._proposals[trial_id]
        candidate = (
            Candidate.from_json(json.loads(result["candidate"])) if result and finished else _lost(proposal)
        )
        candidate = replace(candidate, elapsed=self._elapsed())
        try:
            self._proposer.conclude(candidate)
        except UnderstudyError as problem:
            self.error = problem
            return
        self._on_candidate(candidate)

    @property
    def unfinished(self) -> bool:
        """Whether candidates were handed out whose end never came: the search was interrupted."""
        return bool(self._proposals)

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the record of the run is the searcher's memory."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: a new proposer reads the record."""

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its searcher into a folder that nobody reads."""
        return {}

    def _elapsed(self) -> float:
        return self._before + time.monotonic() - self._start


def _lost(proposal: Proposal) -> Candidate:
    return Candidate(
        number=proposal.number,
        choice=dict(proposal.choice),
        key=proposal.key,
        state="failed",
        reason="the worker process died twice while evaluating it (killed, or out of memory)",
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )
