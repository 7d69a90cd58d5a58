"""A candidate as a Ray Tune trial: one long-lived process evaluates many of them."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ray import tune

from evaluators.candidate import Outcome, evaluate_candidate, kept_epochs
from results.candidate import Candidate, read_measurements
from results.measurement import hardware_figures
from results.store import disk_room
from search.device_actor import RemoteDevice
from search.plan import Plan
from search.worker_process import settle_worker
from spaces.choice import Choice
from understudy import DeviceLost, RunError, UnderstudyError

STANDING = "standing.json"


class CandidateTrial(tune.Trainable):
    """A step teaches one candidate up to the next rung; ``reset_config`` makes the same process take another.

    The first step also compiles and measures it. Where its teaching stands is kept in the run's folder after each
    step, and by Tune only which step that was: any process can go on with it, also one of a resumed search.

    Whatever goes wrong with a candidate is its outcome (``failed``, with the reason), never the search's. What
    is no candidate's fault (a full disk, a worker that cannot open its workbench) is answered as ``problem``.
    """

    def setup(self, config: dict[str, Any], plan: Plan, devices: tuple[RemoteDevice | None, ...]) -> None:
        """Open the workbench, once a process."""
        self._rungs: tuple[int, ...] = (1,)
        self._problem = ""
        try:
            self._bench = plan.open(devices, settle_worker(), outlive_boards=True)
            self._rungs = plan.rungs()
        except Exception as error:  # said once, by the search, instead of by each candidate
            self._problem = f"a worker cannot start: {error}"
        self._idle_since: float | None = None
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next candidate."""
        self._proposal, self._known, self._fidelity = new_config, new_config["known"], new_config["fidelity"]
        return True

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Which step was the last, and what the architecture costs."""
        standing = {"fidelity": self._fidelity, "known": self._known}
        Path(checkpoint_dir, STANDING).write_text(json.dumps(standing))

    def load_checkpoint(self, checkpoint: dict[str, Any] | str | None) -> None:
        """Go on with a candidate after the step that was saved."""
        standing = json.loads(Path(str(checkpoint), STANDING).read_text())
        self._fidelity, self._known = standing["fidelity"], standing["known"]

    def step(self) -> dict[str, Any]:
        """Teach the candidate up to its next rung; the result holds its line of the record under ``candidate``.

        As text, because Tune flattens what it can look into.
        """
        start = time.monotonic()
        choice, number = Choice(self._proposal["choice"]), self._proposal["number"]
        until = self._next_rung(number)
        try:
            outcome = self._evaluate(choice, number, until)
        except (RunError, DeviceLost) as error:
            return {"problem": str(error), "done": True}
        seconds = dict(outcome.seconds)
        if self._idle_since is not None:
            seconds["overhead"] = start - self._idle_since
        self._idle_since = time.monotonic()
        taught = outcome.state == "done"
        paused = taught and until < self._rungs[-1]
        if taught:
            costs = hardware_figures(outcome.measurements)
            self._fidelity = until / self._rungs[-1]
            self._known = json.dumps({name: each.to_json() for name, each in costs.items()})
        candidate = Candidate(
            number=number,
            choice=self._proposal["choice"],
            key=self._proposal["key"],
            state="paused" if paused else outcome.state,
            reason=outcome.reason,
            measurements=outcome.measurements,
            seconds=seconds,
            taught_by=outcome.taught_by,
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
            fidelity=self._fidelity if taught else 1.0,
        )
        return {"candidate": json.dumps(candidate.to_json()), "done": not paused}

    def _next_rung(self, number: int) -> int:
        """The epoch to teach up to: beyond the last step, and not before what is kept of the teaching."""
        if self._problem:
            return self._rungs[-1]
        kept = kept_epochs(self._bench, Choice(self._proposal["choice"]), number)
        reached = round(self._fidelity * self._rungs[-1])
        return next(rung for rung in self._rungs if rung > reached and rung >= kept)

    def _evaluate(self, choice: Choice, number: int, until: int) -> Outcome:
        if self._problem:
            raise RunError(self._problem)
        try:
            with disk_room(self._bench.scratch):
                known = read_measurements(json.loads(self._known))
                return evaluate_candidate(self._bench, choice, number, known, until)
        except (RunError, DeviceLost):
            raise
        except UnderstudyError as error:
            return Outcome("failed", {}, {}, str(error))
        except Exception as error:  # a candidate's fault must not end the search
            return Outcome("failed", {}, {}, f"{type(error).__name__}: {error}")
