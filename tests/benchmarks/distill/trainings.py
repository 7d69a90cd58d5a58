"""One training or timing of the benchmark, by ours or by the peer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn

from evaluators.distill.catalogue import load_distiller
from evaluators.distill.evaluate import accuracy, batches, predict_logits
from evaluators.distill.schedule import Schedule
from evaluators.distill.trainer import train_student
from tests.benchmarks.distill.ledger import Ledger, Row
from tests.benchmarks.distill.peer import train_with_peer
from tests.benchmarks.distill.setting import Pair, Setting

OURS, PEER = "understudy", "torchdistill"
ROUNDS = 3
TIMED_STEPS = 8


@dataclass
class Clock:
    """Seconds of each step, in order; ``step`` is entered around them (and around batches of validation)."""

    seconds: list[float] = field(default_factory=list)

    @contextmanager
    def step(self) -> Iterator[None]:
        """Time what happens inside."""
        start = time.perf_counter()
        yield
        self.seconds.append(time.perf_counter() - start)


@dataclass(frozen=True)
class Bench:
    """The setting, and what is known of it already."""

    setting: Setting
    ledger: Ledger

    def trained(self, pair: Pair, method: str, seed: int, by: str = OURS) -> Row:
        """Test accuracy of a student after its training."""

        def make() -> Row:
            network = pair.network(seed)
            start = time.perf_counter()
            self._train(network, pair, method, seed, by, self.setting.schedule, Clock())
            seconds = time.perf_counter() - start
            logits = predict_logits(network, self.setting.task, "test", pair.resolution)
            score = accuracy(logits, self.setting.task.targets("test"))
            return {"accuracy": score, "seconds": seconds, "parameters": _count(network)}

        return self.ledger.row(self._key(pair, method, by, seed=seed), make)

    def timed(self, pair: Pair, method: str, by: tuple[str, ...]) -> dict[str, Row]:
        """Seconds of the steps of short trainings, of the two in turn where there are two."""
        keys = {each: self._key(pair, method, each, timed=TIMED_STEPS) for each in by}
        found: dict[str, list[float]] = {}

        def make(each: str) -> Callable[[], Row]:
            def measure() -> Row:
                if not found:
                    found.update(self._measured(pair, method, by))
                return {"steps": found[each]}

            return measure

        return {each: self.ledger.row(key, make(each)) for each, key in keys.items()}

    def known(self, pair: Pair, method: str, by: str, **more: int) -> Row | None:
        """The row of a training (``seed``) or timing (``timed``) that is in the ledger."""
        return self.ledger.get(self._key(pair, method, by, **more))

    def known_time(self, pair: Pair, method: str, by: str) -> Row | None:
        """The row of a timing, if there is one."""
        return self.known(pair, method, by, timed=TIMED_STEPS)

    def _measured(self, pair: Pair, method: str, by: tuple[str, ...]) -> dict[str, list[float]]:
        """All but the first steps of each round, which prepare."""
        task, schedule = self.setting.task, self.setting.schedule
        steps = len(batches(task.targets("train"), schedule.batch_size))
        short = replace(schedule, epochs=-(-TIMED_STEPS // steps))
        found: dict[str, list[float]] = {each: [] for each in by}
        for _ in range(ROUNDS):
            for each in by:
                clock = Clock()
                self._train(pair.network(0), pair, method, 0, each, short, clock)
                found[each] += clock.seconds[2 : short.epochs * steps]
        return found

    def _train(
        self, network: nn.Module, pair: Pair, method: str, seed: int, by: str, schedule: Schedule, clock: Clock
    ) -> None:
        distiller = load_distiller(method)
        if by == PEER:
            train_with_peer(network, self.setting.task, pair, distiller, schedule, seed, clock.step)
            return
        train_student(
            network,
            self.setting.task,
            resolution=pair.resolution,
            distiller=distiller,
            teacher_outputs=pair.outputs,
            schedule=schedule,
            seed=seed,
            step_guard=clock.step,
            teacher=pair.teacher,
        )

    def _key(self, pair: Pair, method: str, by: str, **more: int) -> dict[str, Any]:
        return {
            "by": by,
            "method": method,
            "pair": pair.name,
            "teacher": pair.teacher.fingerprint,
            "student": pair.space.signature(pair.choice),
            "task": self.setting.task.fingerprint,
            "schedule": repr(self.setting.schedule),
            **more,
        }


def _count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
