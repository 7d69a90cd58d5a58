"""MetaSchedule on the kernels that weigh most, for the last per cent of a chosen student.

It is given the operator as TVM computes it, a bias and an activation behind. What it finds races our own kernel,
and in the network the same schedule is applied to whatever is fused there. All of it happens in child processes
with a deadline: what hangs, crashes or raises costs its time and nothing else.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import tvm

from evaluators.compile.choices import Chooser
from evaluators.compile.graph.prepare import prepare
from evaluators.compile.legalize.kernels import make_kernels
from evaluators.compile.legalize.replaced import mark_of
from evaluators.compile.rules.apply import SCHEDULED, schedule_kernels
from evaluators.compile.tune.build import search_schedule
from evaluators.compile.tune.builders import BUILD_S
from evaluators.compile.tune.cases import Case
from evaluators.compile.tune.database import WORTH, target_of
from evaluators.compile.tune.measure import UNREAD
from evaluators.compile.tune.replaced import METASCHEDULE, marked, replacing
from evaluators.compile.tune.schedule_search import Found, scheduled
from evaluators.compile.tune.search import Tuner
from understudy import MeasureError

LEAST_S = 10.0
"""Seconds that a kernel is searched at least: some four rounds of trials."""

MOST_KERNELS = 8
_GRACE_S = 10.0
"""Seconds after its time before a search is killed, with all that it found: a round may take long."""


@dataclass(frozen=True)
class Schedules:
    """What MetaSchedule found: schedules that beat ours, by kernel; how many were searched now."""

    faster: Mapping[str, Found]
    searched: int
    trials: int
    gained: int

    def __str__(self) -> str:
        return (
            f"MetaSchedule: {self.gained} of {self.searched} kernels faster than ours after {self.trials} trials, "
            f"{len(self.faster)} known in all"
        )


def find_schedules(tuner: Tuner, choose: Chooser, lock: Path | None, seconds: float) -> Schedules:
    """Search schedules for the heaviest kernels of the network that ``tuner`` was called for last.

    What is known of them already is found in the tuner's database, where what is found is kept, too.
    """
    target = target_of(tuner.profile)
    wanted = _heaviest(tuner, seconds)
    each_s = seconds * tuner.builders.count / max(1, len(wanted))
    end = time.monotonic() + seconds
    answers = tuner.builders.each(
        search_schedule, [(case, tuner.profile, each_s, lock) for case in wanted], limit_s=each_s + _GRACE_S
    )
    found = [(case, answer) for case, answer in zip(wanted, answers, strict=True) if answer is not None]
    gained = 0
    for case, schedule in found:
        relative = _relative(tuner, choose, case, schedule, max(end, time.monotonic() + BUILD_S))
        if relative < WORTH:
            gained += 1
            tuner.database.store_schedule(target, case.key, schedule, relative)
    known = tuner.database.read_schedules(target)
    ours = {str(case.key) for case in tuner.cases}
    faster = {kernel: schedule for kernel, (schedule, _) in known.items() if kernel in ours}
    return Schedules(faster, len(wanted), sum(schedule.trials for _, schedule in found), gained)


def replaced_kernels(
    module: tvm.IRModule, tuner: Tuner, choose: Chooser, schedules: Mapping[str, Found]
) -> tvm.IRModule:
    """The network's kernels, scheduled: those named as MetaSchedule found, the others as ``choose`` says.

    Raises ``MeasureError`` where a schedule cannot be applied to what is fused in the network.
    """
    profile = tuner.profile
    with tuner.working():
        computed = make_kernels(prepare(module, profile), profile, replacing(choose, schedules))
        kernels = marked(computed)
        calls = [(tvm.ir.save_json(kernel), schedules[str(mark_of(kernel))], profile) for _, kernel in kernels]
        for (name, _), text in zip(kernels, tuner.builders.each(scheduled, calls, BUILD_S), strict=True):
            if text is None:
                raise MeasureError(f"the schedule found for {name.name_hint} does not fit the network's kernel")
            computed.update_func(name, tvm.ir.load_json(text).with_attr(SCHEDULED, METASCHEDULE))
        return schedule_kernels(computed, profile)


def _heaviest(tuner: Tuner, seconds: float) -> Sequence[Case]:
    """The kernels to search in the time, one of each operator."""
    weights = {row.kernel: row.count * row.best_s for row in tuner.table if row.best_s > 0}
    cases = {case.graph: case for case in tuner.cases if str(case.key) in weights}
    heavy = sorted(cases.values(), key=lambda case: -weights[str(case.key)])
    return heavy[: min(MOST_KERNELS, int(seconds // LEAST_S) * tuner.builders.count)]


def _relative(tuner: Tuner, choose: Chooser, case: Case, schedule: Found, end: float) -> float:
    """The time of the schedule over that of our kernel; 1 where that cannot be told."""
    ours = choose(case.key, case.options)
    with tempfile.TemporaryDirectory(dir=tuner.scratch, prefix="understudy-kernels-") as folder:
        first, second = Path(folder) / "ours.so", Path(folder) / "theirs.so"
        with tuner.working():
            built = tuner.builders.build([(case, ours, first), (case, schedule, second)], end)
        if any(isinstance(answer, str) for answer in built):
            return 1.0
        try:
            lap = tuner.racer.race([first, second], UNREAD)[1]
        except MeasureError:
            return 1.0
    return 1.0 if lap.fault else lap.relative
