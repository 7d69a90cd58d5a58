"""A candidate as a Ray Tune trial: one long-lived process evaluates many of them."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any

from ray import tune

from evaluators.candidate import Outcome, evaluate_candidate
from results.candidate import Candidate, read_measurements
from results.store import disk_room
from search.device_actor import RemoteDevice
from search.plan import Plan
from search.worker_process import settle_worker
from spaces.choice import Choice
from understudy import DeviceLost, RunError, UnderstudyError


class CandidateTrial(tune.Trainable):
    """One step evaluates one candidate; ``reset_config`` makes the same process take the next one.

    Whatever goes wrong with a candidate is its outcome (``failed``, with the reason), never the search's. What
    is no candidate's fault (a full disk, a worker that cannot open its workbench) is answered as ``problem``.
    """

    def setup(self, config: dict[str, Any], plan: Plan, devices: tuple[RemoteDevice | None, ...]) -> None:
        """Open the workbench, once a process."""
        self._proposal, self._problem = config, ""
        try:
            self._bench = plan.open(devices, settle_worker(), outlive_boards=True)
        except Exception as error:  # said once, by the search, instead of by each candidate
            self._problem = f"a worker cannot start: {error}"
        self._idle_since: float | None = None

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next candidate."""
        self._proposal = new_config
        return True

    def step(self) -> dict[str, Any]:
        """Evaluate the candidate; the result holds its line of the record under ``candidate``.

        As text, because Tune flattens what it can look into.
        """
        start = time.monotonic()
        try:
            outcome = self._evaluate(Choice(self._proposal["choice"]), self._proposal["number"])
        except (RunError, DeviceLost) as error:
            return {"problem": str(error), "done": True}
        seconds = dict(outcome.seconds)
        if self._idle_since is not None:
            seconds["overhead"] = start - self._idle_since
        self._idle_since = time.monotonic()
        candidate = Candidate(
            number=self._proposal["number"],
            choice=self._proposal["choice"],
            key=self._proposal["key"],
            state=outcome.state,
            reason=outcome.reason,
            measurements=outcome.measurements,
            seconds=seconds,
            taught_by=outcome.taught_by,
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        return {"candidate": json.dumps(candidate.to_json()), "done": True}

    def _evaluate(self, choice: Choice, number: int) -> Outcome:
        if self._problem:
            raise RunError(self._problem)
        try:
            with disk_room(self._bench.scratch):
                known = read_measurements(json.loads(self._proposal["known"]))
                return evaluate_candidate(self._bench, choice, number, known)
        except (RunError, DeviceLost):
            raise
        except UnderstudyError as error:
            return Outcome("failed", {}, {}, str(error))
        except Exception as error:  # a candidate's fault must not end the search
            return Outcome("failed", {}, {}, f"{type(error).__name__}: {error}")
