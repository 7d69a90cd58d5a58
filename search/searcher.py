"""The proposer as Ray Tune's searcher: Tune asks when it has a free worker and says how a trial ended."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal

from ray.tune.search import Searcher

from results.candidate import Candidate
from search.ladder import Ladder
from search.proposer import Proposal, Proposer
from understudy import RunError, UnderstudyError

FINISHED: str = Searcher.FINISHED
Next = Literal["continue", "pause", "stop"]
STALLED = "front no longer improving"
DEATHS = 2
"""Of workers that had begun on a candidate, after which it has failed."""
AGAIN = 3
"""Trials more that a candidate is given when Tune gives one up that is not to blame."""


class ProposerSearcher(Searcher):
    """Hands out proposals until ``trials`` are in the record, ``time_limit`` seconds have passed, the front has
    ``stalled``, or none is left.

    At most ``workers`` trials run at once. One that is paused waits on the ``ladder``; whoever is due there goes
    before new proposals, and when those have come to an end, all that still wait are recorded as pruned.

    ``on_candidate`` hears of each pause and end of a candidate once it is safely in the record; ``working`` is
    entered around proposing, which would disturb a measurement. What ends the search for all candidates (a full
    disk, a worker that cannot start) is kept in ``error`` for the driver to raise.
    """

    def __init__(
        self,
        proposer: Proposer,
        ladder: Ladder,
        trials: int,
        time_limit: float | None,
        on_candidate: Callable[[Candidate], None],
        working: Callable[[], AbstractContextManager[object]] = nullcontext,
        workers: int = 1,
        stalled: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__()
        self._working, self._workers, self._stalled = working, workers, stalled
        self._proposer, self._ladder, self._on_candidate = proposer, ladder, on_candidate
        self.trials = trials
        self._left = trials - len(proposer.candidates) - len(proposer.paused)
        known = [*proposer.candidates, *proposer.paused.values()]
        self._before = max((candidate.elapsed for candidate in known), default=0.0)
        self._start = time.monotonic()
        self._limit = time_limit
        self._proposals: dict[str, Proposal] = {}
        self._trials: dict[int, str] = {}
        self._running: set[str] = set()
        self._asleep: set[str] = set()
        self._begun: set[str] = set()
        self._deaths: Counter[str] = Counter()
        self._given_up: Counter[int] = Counter()
        self._again: list[Proposal] = []
        self.error: UnderstudyError | None = None
        self.ended_by = ""

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next candidate for a free worker; None while there is none, or a paused trial is due."""
        if self.error is not None:
            return FINISHED
        if len(self._running) >= self._workers:
            return None
        due = self._ladder.next()
        if due in self._trials:
            return None
        if due is not None:
            proposal: Proposal | None = self._proposer.again(due)
        else:
            proposal = self._again.pop() if self._again else self._new()
        if proposal is None:
            if self._running:
                return None
            return self.suggest(trial_id) if self._ladder.close() else self._finish()
        self._ladder.leave(proposal.number)
        self._proposals[trial_id], self._trials[proposal.number] = proposal, trial_id
        self._running.add(trial_id)
        known = {name: figure.to_json() for name, figure in proposal.known.items()}
        return {
            "number": proposal.number,
            "choice": dict(proposal.choice),
            "key": proposal.key,
            "known": json.dumps(known),
            "fidelity": proposal.fidelity,
        }

    def heard(self, trial_id: str, result: dict[str, Any]) -> Next:
        """What is to become of a trial that has come to a rung, with its result; it is recorded before."""
        if trial_id not in self._proposals:  # it was pruned while it left a worker that died, so it ran again
            return "stop"
        candidate = Candidate.from_json(json.loads(result["candidate"]))
        try:
            before = self._proposer.paused.get(candidate.number)
            if before is not None and before.fidelity >= candidate.fidelity:
                self._ladder.reached(before)  # a worker died after it had said so before
            else:
                candidate = self._added_up(candidate)
                self._proposer.pause(candidate)
                self._ladder.reached(candidate)
                self._on_candidate(candidate)
                self._prune(self._ladder.hopeless())
        except UnderstudyError as problem:
            self.error = problem
            return "stop"
        if trial_id not in self._proposals:
            return "stop"
        if self._ladder.next() == candidate.number:
            self._ladder.leave(candidate.number)
            return "continue"
        return "pause"

    def paused(self, trial_id: str) -> None:
        """Hear that a paused trial has left its worker."""
        self._running.discard(trial_id)
        self._begun.discard(trial_id)
        self._asleep.add(trial_id)

    def leaving(self, trial_id: str) -> None:
        """Hear that a worker will be free as soon as a paused trial has left it."""
        self._running.discard(trial_id)

    def begun(self, trial_id: str) -> None:
        """Hear that a worker has taken on a trial."""
        self._begun.add(trial_id)

    def died(self, trial_id: str) -> None:
        """Hear that the worker of a trial is lost, which counts against it only if that worker had begun.

        Until Ray knows that a machine is gone, it may give a trial to several workers there, one after the other.
        """
        if trial_id in self._begun:
            self._begun.remove(trial_id)
            self._deaths[trial_id] += 1

    def gives_up(self, trial_id: str) -> bool:
        """Whether so many workers died at a trial that it is to be blamed."""
        return self._deaths[trial_id] >= DEATHS

    def restarted(self, trial_id: str) -> None:
        """Hear that a trial's worker died before it was paused, so that it is being run again."""
        if trial_id in self._proposals:
            self._ladder.leave(self._proposals[trial_id].number)

    def wake(self) -> str | None:
        """The paused trial that is to run now; None where none is due or no worker is free.

        One that is due but has not left its worker yet runs as soon as it has.
        """
        due = self._ladder.next()
        name = None if due is None else self._trials.get(due)
        if (
            due is None
            or name not in self._asleep
            or self.error is not None
            or len(self._running) >= self._workers
        ):
            return None
        self._ladder.leave(due)
        self._asleep.remove(name)
        self._running.add(name)
        return name

    def has_ended(self, trial_id: str) -> bool:
        """Whether a trial is of no further use, so that it need not stay paused."""
        return self.error is not None or trial_id not in self._proposals

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Record how a trial ended; one that Tune stopped before it had an outcome leaves no trace.

        A candidate that Tune gives up although it is not to blame is handed out as another trial, ``AGAIN`` times:
        Tune hears of a lost worker twice where a trial was just being given to it, and takes the second for more.
        """
        self._running.discard(trial_id)
        self._asleep.discard(trial_id)
        proposal = self._proposals.get(trial_id)
        if result and "problem" in result:
            self.error = self.error or RunError(result["problem"])
        finished = bool(result and "candidate" in result)
        if proposal is None or self.error is not None or not (finished or error or self.gives_up(trial_id)):
            return
        if not finished and not self.gives_up(trial_id) and self._given_up[proposal.number] < AGAIN:
            self._hand_back(trial_id, proposal)
            return
        candidate = (
            Candidate.from_json(json.loads(result["candidate"])) if result and finished else _lost(proposal)
        )
        try:
            self._conclude(self._added_up(candidate))
        except UnderstudyError as problem:
            self.error = problem

    @property
    def unfinished(self) -> bool:
        """Whether candidates were handed out whose end never came: the search was interrupted."""
        return bool(self._proposals or self._again) or not self.ended_by

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the record of the run is the searcher's memory."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: a new proposer reads the record."""

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its searcher into a folder that nobody reads."""
        return {}

    def _hand_back(self, trial_id: str, proposal: Proposal) -> None:
        """Have a candidate evaluated as another trial, from the rung on that it had reached."""
        self._given_up[proposal.number] += 1
        del self._proposals[trial_id], self._trials[proposal.number]
        if proposal.number in self._proposer.paused:
            self._ladder.reached(self._proposer.paused[proposal.number])
        else:
            self._again.append(proposal)

    def _new(self) -> Proposal | None:
        """A new proposal, or None and why there are no more."""
        if self.ended_by:
            return None
        if self._left <= 0:
            self.ended_by = "trials"
        elif self._limit is not None and self._elapsed() >= self._limit:
            self.ended_by = "time"
        elif self._stalled():
            self.ended_by = STALLED
        if self.ended_by:
            return None
        with self._working():
            proposal = self._proposer.propose()
        if proposal is None:
            self.ended_by = "space exhausted"
        else:
            self._left -= 1
        return proposal

    def _finish(self) -> str:
        """The end: nobody is taught on any more."""
        try:
            self._prune(sorted(self._proposer.paused))
        except UnderstudyError as problem:
            self.error = problem
        return FINISHED

    def _prune(self, numbers: list[int]) -> None:
        """Record paused candidates as stopped for good."""
        stopped = [self._proposer.paused[number] for number in numbers]
        for number in numbers:
            self._ladder.leave(number)
        if stopped:
            self._conclude(*map(self._stopped, stopped))

    def _stopped(self, candidate: Candidate) -> Candidate:
        reason, elapsed = self._ladder.verdict(candidate), self._elapsed()
        return replace(candidate, state="pruned", reason=reason, finished=_now(), elapsed=elapsed)

    def _conclude(self, *candidates: Candidate) -> None:
        self._proposer.conclude(*candidates)
        for candidate in candidates:
            self._proposals.pop(self._trials.pop(candidate.number, ""), None)
            self._on_candidate(candidate)

    def _added_up(self, candidate: Candidate) -> Candidate:
        """With the time that the candidate took in all, and what it had come to before a worker's death."""
        before = self._proposer.paused.get(candidate.number)
        seconds = dict(candidate.seconds)
        if before is not None:
            seconds = {
                stage: before.seconds.get(stage, 0.0) + seconds.get(stage, 0.0)
                for stage in {**before.seconds, **seconds}
            }
            if candidate.state == "failed":
                candidate = replace(candidate, measurements=before.measurements, fidelity=before.fidelity)
        return replace(candidate, seconds=seconds, elapsed=self._elapsed())

    def _elapsed(self) -> float:
        return self._before + time.monotonic() - self._start


def _lost(proposal: Proposal) -> Candidate:
    return Candidate(
        number=proposal.number,
        choice=dict(proposal.choice),
        key=proposal.key,
        state="failed",
        reason=f"worker processes died while evaluating it, {DEATHS} or more (killed, or out of memory)",
        finished=_now(),
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
