"""A candidate as a Ray Tune trial: one long-lived process evaluates many of them."""

from __future__ import annotations

import json
import time
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ray import tune

from evaluators.candidate import Outcome, evaluate_candidate, kept_epochs
from results.candidate import Candidate, read_measurements
from results.measurement import Measurement, hardware_figures
from results.store import disk_room
from search.device_actor import RemoteDevice
from search.plan import Plan
from search.worker_process import settle_worker
from spaces.choice import Choice
from understudy import DeviceLost, RunError, UnderstudyError

STANDING = "standing.json"


class RungTrial(tune.Trainable):
    """A step takes one candidate to the next of ``rungs``; ``reset_config`` makes the same process take another.

    Tune keeps which step was the last and what the architecture costs; where the teaching stands is the
    evaluator's to keep, so that any process can go on with a candidate, also one of a resumed search.
    """

    rungs: tuple[int, ...]

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
        choice, number = Choice(self._proposal["choice"]), self._proposal["number"]
        reached = round(self._fidelity * self.rungs[-1])
        kept = self.kept_epochs(choice, number)
        until = next(rung for rung in self.rungs if rung > reached and rung >= kept)
        try:
            outcome = self.evaluate(choice, number, read_measurements(json.loads(self._known)), until)
        except (RunError, DeviceLost) as error:
            return {"problem": str(error), "done": True}
        taught = outcome.state == "done"
        if taught:
            costs = hardware_figures(outcome.measurements)
            self._known = json.dumps({name: figure.to_json() for name, figure in costs.items()})
            self._fidelity = until / self.rungs[-1]
        paused = taught and until < self.rungs[-1]
        candidate = Candidate(
            number=number,
            choice=self._proposal["choice"],
            key=self._proposal["key"],
            state="paused" if paused else outcome.state,
            reason=outcome.reason,
            measurements=outcome.measurements,
            seconds=outcome.seconds,
            taught_by=outcome.taught_by,
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
            fidelity=self._fidelity if taught else 1.0,
        )
        return {"candidate": json.dumps(candidate.to_json()), "done": not paused}

    def kept_epochs(self, choice: Choice, number: int) -> int:
        """How many epochs of a candidate's teaching are kept, told or not."""
        return 0

    @abstractmethod
    def evaluate(self, choice: Choice, number: int, known: Mapping[str, Measurement], until: int) -> Outcome:
        """Evaluate a candidate taught until the epoch ``until`` (from 1), whose costs may be known.

        Raises ``RunError`` and ``DeviceLost`` for what is no candidate's fault.
        """


class CandidateTrial(RungTrial):
    """The candidates of a search.

    Whatever goes wrong with a candidate is its outcome (``failed``, with the reason), never the search's. What
    is no candidate's fault (a full disk, a worker that cannot open its workbench) is answered as ``problem``.
    """

    def setup(self, config: dict[str, Any], plan: Plan, devices: tuple[RemoteDevice | None, ...]) -> None:
        """Open the workbench, once a process."""
        self.rungs, self._problem = (1,), ""
        try:
            self._bench = plan.open(devices, settle_worker(), outlive_boards=True)
            self.rungs = plan.rungs()
        except Exception as error:  # said once, by the search, instead of by each candidate
            self._problem = f"a worker cannot start: {error}"
        self._idle_since: float | None = None
        self.reset_config(config)

    def kept_epochs(self, choice: Choice, number: int) -> int:
        """See ``RungTrial.kept_epochs``."""
        return 0 if self._problem else kept_epochs(self._bench, choice, number)

    def evaluate(self, choice: Choice, number: int, known: Mapping[str, Measurement], until: int) -> Outcome:
        """See ``RungTrial.evaluate``."""
        if self._problem:
            raise RunError(self._problem)
        start = time.monotonic()
        try:
            with disk_room(self._bench.scratch):
                outcome = evaluate_candidate(self._bench, choice, number, known, until)
        except (RunError, DeviceLost):
            raise
        except UnderstudyError as error:
            outcome = Outcome("failed", {}, {}, str(error))
        except Exception as error:  # a candidate's fault must not end the search
            outcome = Outcome("failed", {}, {}, f"{type(error).__name__}: {error}")
        idle = {} if self._idle_since is None else {"overhead": start - self._idle_since}
        self._idle_since = time.monotonic()
        return replace(outcome, seconds={**outcome.seconds, **idle})
