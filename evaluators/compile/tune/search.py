"""The measured search over the kernels of one network."""

from __future__ import annotations

import heapq
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import tvm

from evaluators.compile.choices import Choice, Chooser, KernelKey, spelled
from evaluators.compile.graph.prepare import prepare
from evaluators.compile.together import packing_of
from evaluators.compile.tune.builders import Builders
from evaluators.compile.tune.cases import Case, find_cases
from evaluators.compile.tune.database import Database, Laps, chooser, target_of
from evaluators.compile.tune.measure import Measuring, Racer
from evaluators.latency.race import Lap
from hw_profiles.profile import Profile

BATCH = 8
"""Options of a kernel built and timed together."""

LEAST_SHARE = 0.005
"""Kernels below this share of the network's kernel time are left as they are, each batch tried halving it."""


@dataclass(frozen=True)
class Tuned:
    """One kernel after the search: how often the network holds it, seconds of the model's own choice and of the
    one taken, how many of its options have been tried, and which is taken."""

    kernel: str
    count: int
    default_s: float
    best_s: float
    tried: int
    options: int
    choice: str


@dataclass
class Tuner:
    """Measures the kernels of networks, for at most ``seconds`` a network, and answers with what is best.

    Options are built by ``builders`` inside ``working``, in the folder ``scratch``, and timed by ``racer``. What
    is found goes into ``database`` and serves whoever asks later; kernels known from there cost nothing.
    ``table`` is of the network tuned last, heaviest kernels first, and ``cases`` are its kernels.
    """

    profile: Profile
    database: Database
    racer: Racer
    builders: Builders
    seconds: float
    working: Callable[[], AbstractContextManager[object]] = nullcontext
    scratch: Path | None = None
    table: list[Tuned] = field(default_factory=list)
    cases: Sequence[Case] = ()

    def known(self) -> Chooser:
        """The chooser of what was found before; nothing is measured."""
        return chooser(self.database.read(target_of(self.profile)))

    def __call__(self, *modules: tvm.IRModule) -> Chooser:
        """Search among the options of a network's imported programs; the chooser of all that was found.

        Raises ``DeviceLost`` when there is nothing to time kernels on; what was found until then is kept.
        """
        known = self.database.read(target_of(self.profile))
        choose = chooser(known)
        with self.working():
            if self.seconds:
                self.builders.get_ready()
            graphs = [prepare(module, self.profile) for module in modules]
        end = time.monotonic() + self.seconds
        with tempfile.TemporaryDirectory(dir=self.scratch, prefix="understudy-kernels-") as folder:
            measuring = Measuring(self.racer, self.builders, self.working, Path(folder), end)
            self.cases = self._explored(graphs, known, choose, measuring)
        rows = [_tuned(case, known.get(str(case.key), {}), choose) for case in self.cases]
        self.table = sorted(rows, key=lambda row: -row.count * row.default_s)
        return choose

    def _explored(
        self, graphs: Sequence[tvm.IRModule], known: Laps, choose: Chooser, measuring: Measuring
    ) -> Sequence[Case]:
        """The kernels of graphs, searched, and those again that what was found leads to."""
        target, packing = target_of(self.profile), packing_of(graphs, self.profile)
        seen: set[KernelKey] = set()
        while True:
            with self.working():
                cases = find_cases(graphs, self.profile, choose, packing)
            if seen.issuperset(case.key for case in cases):
                return cases
            seen.update(case.key for case in cases)
            _search(cases, known, measuring, lambda case, laps: self.database.store(target, case.key, laps))


def _search(
    cases: Sequence[Case],
    known: Laps,
    measuring: Measuring,
    store: Callable[[Case, Mapping[str, Lap]], None],
) -> None:
    """Measure the defaults of all kernels, then batches of options, the heaviest kernel first.

    A kernel's weight is what the network spends in it, halved by each batch: the model's order makes a gain less
    likely the further down one looks.
    """

    def keep(case: Case, laps: Mapping[str, Lap]) -> None:
        before = known.setdefault(str(case.key), {})
        before.update({name: lap for name, lap in laps.items() if lap.repeats >= before.get(name, lap).repeats})
        store(case, laps)

    for case, lap in measuring.defaults([case for case in cases if case.options[0] in _untried(case, known)]):
        keep(case, {spelled(case.options[0]): lap})
    total = sum(_weight(case, known) for case in cases)
    queue = [(-_weight(case, known), number) for number, case in enumerate(cases)]
    heapq.heapify(queue)
    while queue and queue[0][0] < -LEAST_SHARE * total and not measuring.over:
        weight, number = heapq.heappop(queue)
        case = cases[number]
        laps = measuring.options(case, _untried(case, known)[:BATCH])
        if laps:
            keep(case, laps)
            heapq.heappush(queue, (weight / 2, number))


def _untried(case: Case, known: Laps) -> list[Choice]:
    laps = known.get(str(case.key), {})
    return [option for option in case.options if spelled(option) not in laps]


def _weight(case: Case, known: Laps) -> float:
    """Seconds that a network spends in the kernel as the model builds it; 0 where that could not be timed."""
    lap = known.get(str(case.key), {}).get(spelled(case.options[0]), Lap(fault="untried"))
    return 0.0 if lap.fault else lap.median_s * case.count


def _tuned(case: Case, laps: Mapping[str, Lap], choose: Chooser) -> Tuned:
    default = laps.get(spelled(case.options[0]), Lap())
    taken = spelled(choose(case.key, case.options))
    relative = laps.get(taken, default).relative
    tried = sum(spelled(option) in laps for option in case.options)
    return Tuned(
        str(case.key), case.count, default.median_s, default.median_s * relative, tried, len(case.options), taken
    )
