"""How far one driver reaches: throughput by workers, and 10,000 candidates on 1,000 simulated workers.

``python -m tests.benchmarks.scale [--workers 1 2 4] [--candidates 10000] [--simulated 1000]``

Both parts use the search's own proposer, searcher, ladder, scheduler and record; only the evaluation is made up.
The first runs on Ray, and candidates sleep. The second has a calendar of events in place of Ray and its workers,
and counts the processor time of what the driver does for each.
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ray.tune.experiment import Trial
from torch import nn

from evaluators.candidate import Outcome
from results.budget import Budget
from results.candidate import Candidate
from results.goals import Goal, Goals
from results.measurement import Measurement
from results.store import RunStore
from search.display import Board
from search.ladder import Ladder, rungs_of
from search.proposer import Proposer
from search.ray_session import ray_session
from search.scheduler import RungScheduler
from search.searcher import FINISHED, ProposerSearcher
from search.trainable import RungTrial
from search.tuning import run_trials
from spaces.choice import Choice
from spaces.space import Space

GOALS = Goals((Goal("", ("accuracy", "latency"), Budget({})),))
RUNGS = rungs_of(9, 3)


class MadeUp(Space):
    """Sixteen million architectures of twelve choices."""

    def __init__(self) -> None:
        self.name, self.resolutions = "made-up", (8,)
        self.domain = {f"part{index}": (1, 2, 3, 4) for index in range(12)}

    def build(self, choice: Mapping[str, Any]) -> nn.Module:
        """Nobody needs its networks."""
        raise NotImplementedError

    def resolution(self, choice: Mapping[str, Any]) -> int:
        """See ``Space.resolution``."""
        return 8

    def signature(self, choice: Mapping[str, Any]) -> str:
        """See ``Space.signature``."""
        return "".join(str(choice[name]) for name in self.domain)

    def smallest(self) -> Choice:
        """See ``Space.smallest``."""
        return Choice(dict.fromkeys(self.domain, 1))


def made_up(choice: Mapping[str, Any], until: int) -> dict[str, Measurement]:
    """Figures of an architecture after some epochs: more parts cost more, and are worth ever less."""
    noise = random.Random(f"{dict(choice)} {until}").gauss(0, 0.02)
    size = sum(int(value) ** 2 for value in choice.values())
    clumsy = sum(abs(int(choice[f"part{index}"]) - int(choice[f"part{index + 1}"])) for index in range(11))
    accuracy = (1 - 3 / (4 + size / 8) - clumsy / 100) * (1 - 0.5 / (1 + until)) + noise
    return {
        "accuracy": Measurement(min(max(accuracy, 0.0), 1.0), "share"),
        "latency": Measurement(1e-5 * (size + 2 * clumsy), "s"),
    }


class SleepingTrial(RungTrial):
    """Sleeps for as long as a candidate would take; says in ``log`` what it took on, beside it what is done."""

    def setup(self, config: dict[str, Any], epoch_s: float, log: str) -> None:
        """Nothing to open."""
        self.rungs, self._epoch_s, self._log = RUNGS, epoch_s, log
        self.reset_config(config)

    def evaluate(self, choice: Choice, number: int, known: Mapping[str, Measurement], until: int) -> Outcome:
        """See ``RungTrial.evaluate``."""
        if self.kept_epochs(choice, number) < until:
            with open(self._log, "a") as log:
                log.write(f"{number} {until}\n")
            time.sleep(self._epoch_s * (until - max([0, *(rung for rung in RUNGS if rung < until)])))
            self._kept(number).write_text(str(until))
        return Outcome("done", made_up(choice, until), {})

    def kept_epochs(self, choice: Choice, number: int) -> int:
        """See ``RungTrial.kept_epochs``."""
        kept = self._kept(number)
        return int(kept.read_text()) if kept.exists() else 0

    def _kept(self, number: int) -> Path:
        return Path(f"{self._log}.{number}")


def make_searcher(store: RunStore, trials: int, workers: int, sampler: str, **options: Any) -> ProposerSearcher:
    """The search's own parts on a run's folder."""
    proposer = Proposer(MadeUp(), store, GOALS, sampler, 0, trials)
    ladder = Ladder(RUNGS, GOALS.objectives, trials)
    ladder.resume(store.paused(), proposer.candidates)
    on_candidate = options.pop("on_candidate", lambda candidate: None)
    return ProposerSearcher(proposer, ladder, trials, None, on_candidate, workers=workers)


def search_asleep(store: RunStore, trials: int, workers: int, epoch_s: float) -> None:
    """A search on the Ray that runs, whose candidates sleep."""
    from ray import tune

    searcher = make_searcher(store, trials, workers, "random")
    trainable = tune.with_parameters(SleepingTrial, epoch_s=epoch_s, log=str(store.path / "log"))
    run_trials(trainable, searcher, workers, store.path / ".scratch")
    if searcher.error is not None:
        raise searcher.error


def throughput(workers: int, trials: int, epoch_s: float) -> float:
    """Steps a second of a search on so many workers, the first (when processes start) left out."""
    with tempfile.TemporaryDirectory() as folder, ray_session(None, workers):
        store = RunStore.create(Path(folder) / "run")
        search_asleep(store, trials, workers, epoch_s)
        times = sorted(each.elapsed for each in [*store.paused(), *store.candidates()] if each.state != "pruned")
    return (len(times) - workers) / (times[-1] - times[workers - 1])


@dataclass(order=True)
class Event:
    """The end of a simulated step: when, and whose."""

    at: float
    trial: str


@dataclass(eq=False)
class SimulatedTrial:
    """What the scheduler looks at in a trial of Tune, and how far it is taught."""

    trial_id: str
    config: dict[str, Any]
    status: str = Trial.RUNNING
    reached: int = 0
    until: int = 0


class Simulation:
    """A search on simulated workers: the driver's parts are real, and what they take is added up."""

    def __init__(self, store: RunStore, candidates: int, workers: int, sampler: str, epoch_s: float) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.waited: dict[str, float] = defaultdict(float)
        self.calls: Counter[str] = Counter()
        self.now, self.busy_s, self._epoch_s, self._workers = 0.0, 0.0, epoch_s, workers
        self._searcher = make_searcher(store, candidates, workers, sampler, on_candidate=self._show)
        self._scheduler = RungScheduler(self._searcher)
        proposer = self._searcher._proposer
        self._board = Board(proposer.candidates, GOALS, candidates, None, proposer.paused)
        self._controller: Any = SimpleNamespace(stop_trial=lambda trial: None)
        self._trials: dict[str, SimulatedTrial] = {}
        self._calendar: list[Event] = []
        self._random = random.Random(0)
        for owner, name, part in (
            (proposer, "propose", "proposals"),
            (store, "append", "record"),
            (store, "append_paused", "record"),
            (proposer._file, "add_trial", "study file"),
            (self._searcher._ladder, "reached", "ladder"),
            (self._searcher._ladder, "next", "ladder"),
        ):
            self._timed(owner, name, part)

    def run(self) -> None:
        """Until the search has ended."""
        names: Iterator[str] = map(str, count())
        over = False
        while True:
            while not over and (proposed := self._ask(next(names))) is not None:
                over = proposed == FINISHED
            while (woken := self._choose()) is not None:
                self._begin(woken)
            if not self._calendar:
                if over:
                    return
                continue
            event = heapq.heappop(self._calendar)
            self.now = event.at
            self._end(self._trials[event.trial])

    def _ask(self, name: str) -> dict[str, Any] | str | None:
        proposed = self._searcher.suggest(name)
        if isinstance(proposed, dict):
            self._trials[name] = SimulatedTrial(name, proposed)
            self._begin(self._trials[name])
        return proposed

    def _choose(self) -> Any:
        return self._scheduler.choose_trial_to_run(self._controller)

    def _begin(self, trial: SimulatedTrial) -> None:
        trial.status = Trial.RUNNING
        trial.until = next(rung for rung in RUNGS if rung > trial.reached)
        length = self._epoch_s * (trial.until - trial.reached) * self._random.lognormvariate(0, 0.3)
        self.busy_s += length
        heapq.heappush(self._calendar, Event(self.now + length, trial.trial_id))

    def _end(self, trial: SimulatedTrial) -> None:
        """What Tune does with a result."""
        trial.reached, config = trial.until, trial.config
        done = trial.reached == RUNGS[-1]
        candidate = Candidate(
            config["number"],
            config["choice"],
            config["key"],
            "done" if done else "paused",
            measurements=made_up(config["choice"], trial.reached),
            fidelity=trial.reached / RUNGS[-1],
        )
        result = {"candidate": json.dumps(candidate.to_json())}
        with self._clock("results"):
            if done:
                trial.status = Trial.TERMINATED
                self._searcher.on_trial_complete(trial.trial_id, result)
                return
            decision = self._scheduler.on_trial_result(self._controller, trial, result)
            if decision == "STOP":
                trial.status = Trial.TERMINATED
                self._searcher.on_trial_complete(trial.trial_id, result)
        if decision == "PAUSE":
            trial.status = Trial.PAUSED
        if decision == "CONTINUE":
            self._begin(trial)

    def _show(self, candidate: Candidate) -> None:
        with self._clock("display"):
            self._board.line()

    def _timed(self, owner: Any, name: str, part: str) -> None:
        method = getattr(owner, name)

        def timed(*arguments: Any) -> Any:
            with self._clock(part):
                return method(*arguments)

        setattr(owner, name, timed)

    @contextmanager
    def _clock(self, part: str) -> Iterator[None]:
        start, began = time.process_time(), time.perf_counter()
        try:
            yield
        finally:
            self.seconds[part] += time.process_time() - start
            self.waited[part] += time.perf_counter() - began
            self.calls[part] += 1


def report(simulation: Simulation, candidates: int, sampler: str) -> str:
    """The driver's processor time by part (by the clock, waiting for the disk is in it), and what it allows."""
    parts = dict(simulation.seconds)
    inside = sum(parts[name] for name in ("record", "study file", "ladder", "display") if name in parts)
    total = parts.get("proposals", 0.0) + max(parts.get("results", 0.0), inside)
    steps = simulation.calls["results"]
    lines = [
        f"{sampler}: {candidates} candidates in {steps} steps, {simulation.now / 3600:.2f} simulated hours, "
        f"workers busy {simulation.busy_s / simulation.now / simulation._workers:.0%}; driver {total:.1f} s"
    ]
    for name, spent in sorted(parts.items(), key=lambda item: -item[1]):
        calls = simulation.calls[name]
        wall = 1e3 * simulation.waited[name] / calls
        lines.append(
            f"  {name}: {spent:.2f} s, {calls} calls, {1e3 * spent / calls:.2f} ms each ({wall:.1f} by the clock)"
        )
    lines.append(f"  the driver alone does {steps / total:.0f} steps a second")
    return "\n".join(lines)


def main() -> None:
    """Both parts, with one last line for programs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2, 4])
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--epoch-s", type=float, default=0.5)
    parser.add_argument("--candidates", type=int, default=10_000)
    parser.add_argument("--simulated", type=int, default=1000)
    parser.add_argument("--simulated-epoch-s", type=float, default=10.0)
    parser.add_argument("--sampler", nargs="*", default=["random", "tpe"])
    given = parser.parse_args()
    figures = {}
    for workers in given.workers:
        figures[f"steps_s_{workers}"] = throughput(workers, given.trials, given.epoch_s)
        print(f"{workers} workers: {figures[f'steps_s_{workers}']:.2f} steps a second", flush=True)
    for sampler in given.sampler if given.candidates else ():
        with tempfile.TemporaryDirectory() as folder:
            store = RunStore.create(Path(folder) / "run")
            simulation = Simulation(store, given.candidates, given.simulated, sampler, given.simulated_epoch_s)
            start = time.process_time()
            simulation.run()
            figures[f"driver_s_{sampler}"] = time.process_time() - start
        print(report(simulation, given.candidates, sampler), flush=True)
    print("RESULT scale " + " ".join(f"{name}={value:.4g}" for name, value in figures.items()))


if __name__ == "__main__":
    main()
