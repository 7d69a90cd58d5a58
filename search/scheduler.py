"""The ladder as Ray Tune's scheduler: trials pause at a rung, and go on when they are due."""

from __future__ import annotations

from typing import Any

from ray import tune
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from search.searcher import ProposerSearcher

_DECISIONS = {"continue": TrialScheduler.CONTINUE, "pause": TrialScheduler.PAUSE, "stop": TrialScheduler.STOP}


class Beginnings(tune.Callback):
    """Tells the searcher which trials workers have taken on."""

    def __init__(self, searcher: ProposerSearcher) -> None:
        self._searcher = searcher

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A worker that stands begins on a trial."""
        self._searcher.begun(trial.trial_id)


class RungScheduler(FIFOScheduler):
    """Does what the searcher says: it knows the ladder, and which trial is which candidate.

    A worker that is free takes the newest trial that waits for one. Tune's own choice may be a trial whose worker
    is just starting, which would be stopped: where a step is shorter than the start of a process, one worker would
    do everything, and the others start again and again.
    """

    def __init__(self, searcher: ProposerSearcher) -> None:
        super().__init__()
        self._searcher = searcher
        self._leaving: set[Trial] = set()
        self._blamed: list[Trial] = []
        self._waiting: dict[str, Trial] = {}
        self._pending: list[Trial] = []

    def on_trial_add(self, tune_controller: TuneController, trial: Trial) -> None:
        """A trial waits for a worker: a new one, or one whose worker was lost."""
        self._pending.append(trial)

    def on_trial_result(self, tune_controller: TuneController, trial: Trial, result: dict[str, Any]) -> str:
        """A trial has come to a rung."""
        decision: str = _DECISIONS[self._searcher.heard(trial.trial_id, result)]
        if decision == TrialScheduler.PAUSE:
            self._leaving.add(trial)
            self._searcher.leaving(trial.trial_id)  # so that a newer one is there when the worker is free
        return decision

    def on_trial_error(self, tune_controller: TuneController, trial: Trial) -> None:
        """The worker of a trial is lost; Tune gives the trial to another."""
        self._searcher.died(trial.trial_id)
        if self._searcher.gives_up(trial.trial_id):
            self._blamed.append(trial)

    def choose_trial_to_run(self, tune_controller: TuneController) -> Trial | None:
        """The paused trial that is due; those that will never be are stopped, and those that workers die at."""
        while self._blamed:
            tune_controller.stop_trial(self._blamed.pop())
        for trial in [each for each in self._leaving if each.status != Trial.RUNNING]:
            self._leaving.remove(trial)
            if trial.status == Trial.PAUSED:
                self._waiting[trial.trial_id] = trial
                self._searcher.paused(trial.trial_id)
            else:
                self._searcher.restarted(trial.trial_id)
        for name in [name for name in self._waiting if self._searcher.has_ended(name)]:
            tune_controller.stop_trial(self._waiting.pop(name))
        due = self._searcher.wake()
        if due is not None:
            self._pending.append(self._waiting.pop(due))
            return self._pending[-1]
        return self._newest_pending()

    def _newest_pending(self) -> Trial | None:
        self._pending = [trial for trial in self._pending if trial.status in (Trial.PENDING, Trial.PAUSED)]
        return next((trial for trial in reversed(self._pending) if trial.status == Trial.PENDING), None)

    def debug_string(self) -> str:
        """For Tune's own display."""
        return f"{len(self._waiting)} trials wait"
