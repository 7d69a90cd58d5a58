"""MetaSchedule on one kernel, as it runs in a child process: it may hang or crash there.

Shao et al., "Tensor Program Optimization with Probabilistic Programs", 2022. Its own driver is not used: that
starts processes anew for every round of builds, and each of them, like ``TuneContext`` itself, imports TVM's
tensor intrinsics, those of CUDA among them. That takes a minute of a processor, longer than a build may take: no
schedule was ever measured. No CPU schedule of float32 needs them, so an empty module stands in for them.
"""

from __future__ import annotations

import os
import sys
import time
import types
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tvm
from tvm.s_tir import Schedule, Trace, meta_schedule
from tvm.s_tir.meta_schedule.trace_apply import schedule_using_anchor_trace
from tvm.tirx import PrimFunc

from evaluators.compile.vector_math import PIPELINE
from evaluators.latency.quiet import QuietCores
from hw_profiles.profile import Profile

_UNUSED = "tvm.s_tir.tensor_intrin"
MOST_TRIALS = 512
ROUND = 8
"""Trials between two looks at what they gave."""

_SEARCH = {"population_size": 32, "init_min_unmeasured": ROUND, "genetic_num_iters": 2}
"""A tenth of the usual population: without a cost model, breeding more between rounds only costs time."""

_REPEATS = 5
_SAMPLE_S = 2e-3
_HOPELESS = 3.0
"""A first call this many times slower than the best is not timed further."""

_FAILED = 1e9


@dataclass(frozen=True)
class Found:
    """The fastest schedule: the kernel that it was found for and its trace (both JSON), after so many trials."""

    kernel: str
    trace: str
    trials: int


def search(kernel: str, profile: Profile, seconds: float, lock: Path | None) -> Found | None:
    """The best schedule found in so many seconds for a kernel as TVM computes it (JSON); None for none.

    Kernels are timed while the cores are held by ``lock``, and built while they are shared.
    """
    sys.modules.setdefault(_UNUSED, types.ModuleType(_UNUSED))
    end = time.monotonic() + seconds
    function = tvm.ir.load_json(kernel)
    bench = _Bench(function, profile, None if lock is None else QuietCores(lock))
    best_s, best, trials = _FAILED, None, 0
    for schedule, seconds_a_call in _trials(function, profile, bench, end):
        trials += 1
        if seconds_a_call < best_s:
            best_s, best = seconds_a_call, str(tvm.ir.save_json(schedule.trace.as_json()))
    return None if best is None else Found(kernel, best, trials)


def scheduled(kernel: str, found: Found, profile: Profile) -> str:
    """A kernel (JSON) of the same operator, whatever is fused behind it, under the schedule found (JSON).

    A trace read from JSON is replayed on the kernel that it was found for: applied as it is read, it ends the
    process.
    """
    replayed = Schedule(tvm.ir.load_json(found.kernel))
    Trace.apply_json_to_schedule(tvm.ir.load_json(found.trace), replayed)
    schedule = Schedule(tvm.ir.load_json(kernel))
    target = _target(profile)
    with target:
        schedule_using_anchor_trace(schedule, replayed.trace, target)
    return str(tvm.ir.save_json(schedule.mod["main"].without_attr("global_symbol")))


def _trials(function: PrimFunc, profile: Profile, bench: _Bench, end: float) -> Iterator[tuple[Schedule, float]]:
    """Schedules and what they take, rounds bred from the best of those before."""
    generator = meta_schedule.space_generator.PostOrderApply(
        sch_rules="llvm", postprocs="llvm", mutator_probs="llvm"
    )
    strategy = meta_schedule.search_strategy.EvolutionarySearch(**_SEARCH)
    context = meta_schedule.TuneContext(
        function,
        target=_target(profile),
        space_generator=generator,
        search_strategy=strategy,
        num_threads=1,
        rand_state=int(time.time()),
    )
    context.pre_tuning(MOST_TRIALS, ROUND)
    start = time.monotonic()
    while candidates := context.generate_measure_candidates():
        schedules = [candidate.sch for candidate in candidates]
        times = bench.times(schedules, end)
        yield from zip(schedules, times, strict=False)
        results = [meta_schedule.runner.RunnerResult([each], None) for each in times]
        results += [meta_schedule.runner.RunnerResult([_FAILED], None)] * (len(candidates) - len(times))
        context.notify_runner_results(candidates, results)
        begun, start = start, time.monotonic()
        if 2 * start - begun >= end:  # another round would not end in time
            break
    context.post_tuning()


class _Bench:
    """Builds schedules of a kernel and times them on random arguments."""

    def __init__(self, function: PrimFunc, profile: Profile, quiet: QuietCores | None) -> None:
        generator = np.random.default_rng(0)
        self._target = _target(profile)
        self._quiet = quiet
        self._best = _FAILED
        self._arguments = [
            tvm.runtime.tensor(
                generator.standard_normal(tuple(map(int, each.ty.shape))).astype(str(each.ty.dtype))
            )
            for each in function.params
        ]
        os.environ |= {"TVM_NUM_THREADS": str(profile.threads), "TVM_BIND_THREADS": "0"}
        tvm.get_global_func("runtime.config_threadpool")(1, profile.threads)

    def times(self, schedules: Sequence[Schedule], end: float) -> list[float]:
        """Seconds of a call of the first, and of the others as far as they were built before ``end``."""
        built: list[Any] = []
        for schedule in schedules:
            if built and time.monotonic() >= end:
                break
            with nullcontext() if self._quiet is None else self._quiet.working():
                built.append(self._built(schedule))
        with nullcontext() if self._quiet is None else self._quiet.quiet():
            return [_FAILED if module is None else self._time(module) for module in built]

    def _built(self, schedule: Schedule) -> Any:
        function = schedule.mod["main"].with_attr("global_symbol", "main")
        try:
            with self._target, tvm.transform.PassContext(opt_level=3, config={"tirx.disable_assert": True}):
                return tvm.compile(tvm.IRModule({"main": function}), self._target, tir_pipeline=PIPELINE).mod
        except Exception:  # TVM refuses some of its own schedules, in C++ or in Python: the next one, then
            return None

    def _time(self, module: Any) -> float:
        once = float(self._evaluated(module, 1, 1))
        if once > _HOPELESS * self._best:
            return once
        seconds = float(self._evaluated(module, max(1, int(_SAMPLE_S / max(once, 1e-7))), _REPEATS))
        self._best = min(self._best, seconds)
        return seconds

    def _evaluated(self, module: Any, number: int, repeat: int) -> float:
        timed = module.time_evaluator("main", tvm.cpu(), number=number, repeat=repeat)
        return float(timed(*self._arguments).median)


def _target(profile: Profile) -> tvm.target.Target:
    """The profile's target; a core a thread, which decides what is spread over cores."""
    return tvm.target.Target({**profile.tvm_target, "num-cores": profile.threads})
