"""TVM's MetaSchedule on the kernels that weigh most, for the last per cent of a chosen student.

It costs about three seconds a trial, so a minute buys some twenty schedules of one kernel. It runs in a child that
is killed, with all that it started, when its time is up; what it found by then lies in its own database of JSON
lines. A schedule is kept only if it beats ours in turn, and computes the same.
"""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import numpy as np
import tvm
import tvm_ffi
from tvm.tirx import PrimFunc

from evaluators.compile.choices import Chooser
from evaluators.compile.compiler import lower_kernels
from evaluators.compile.kernel_times import Kernel, list_kernels
from evaluators.compile.tune.build import build_scheduled
from evaluators.compile.tune.child import Child, ChildDiedError, ChildRaisedError
from evaluators.compile.tune.database import WORTH, target_of
from evaluators.compile.tune.measure import Racer
from evaluators.compile.tune.schedule_search import best_found, search
from hw_profiles.profile import Profile
from understudy import MeasureError

BUILD_S = 20.0
LEAST_S = 6.0
"""Seconds below which it would not end a first round of trials."""

MOST_KERNELS = 8
LEAST_SHARE = 0.3
"""Share of the time left that a kernel is given at least."""

_UNREAD = np.zeros(1, np.float32)


@dataclass(frozen=True)
class Schedules:
    """Schedules by kernel, kept as files in a folder beside the database: a rule that comes before all others."""

    folder: Path
    target: str

    def apply(self, function: PrimFunc, profile: Profile) -> PrimFunc | None:
        """The schedule kept for the kernel, None where there is none or it cannot be read."""
        path = self._path(function)
        try:
            kept = tvm.ir.load_json(path.read_text())
        except (OSError, ValueError, RuntimeError, TypeError):
            return None
        return kept if isinstance(kept, PrimFunc) else None

    def keep(self, function: PrimFunc, scheduled: PrimFunc) -> None:
        """Keep a schedule; where the disk does not take it, it is as if it had not been found."""
        path = self._path(function)
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(tvm.ir.save_json(scheduled))
            partial.replace(path)

    def _path(self, function: PrimFunc) -> Path:
        plain = function.without_attr("global_symbol") if "global_symbol" in (function.attrs or {}) else function
        name = f"{tvm_ffi.structural_hash(plain) & (2**64 - 1):016x}.json"
        return self.folder / self.target.replace(" ", "-") / name


@dataclass(frozen=True)
class Found:
    """A kernel that was searched: its share of the network's time, and the best schedule's time over ours."""

    kernel: str
    share: float
    relative: float


def improve(
    module: tvm.IRModule, profile: Profile, choose: Chooser, racer: Racer, folder: Path, seconds: float
) -> tuple[Schedules, list[Found]]:
    """Search schedules of a network's kernels for ``seconds``, the heaviest first; what is kept, what was found.

    Whatever fails on the way costs its time and nothing else.
    """
    end = time.monotonic() + seconds
    schedules = Schedules(folder / "metaschedule", target_of(profile))
    computed, scheduled = lower_kernels(module, profile, choose)
    found: list[Found] = []
    helper = Child()
    try:
        with tempfile.TemporaryDirectory(prefix="understudy-metaschedule-") as scratch:
            bench = _Bench(profile, racer, helper, Path(scratch), end)
            weights = bench.weights(list_kernels(computed, scheduled), scheduled)
            for name, share in weights.items():
                if bench.left < LEAST_S or schedules.apply(computed[name], profile) is not None:
                    continue
                theirs = bench.searched(computed[name], max(LEAST_S, bench.left * max(share, LEAST_SHARE)))
                relative = math.inf if theirs is None else bench.relative(scheduled[name], theirs)
                found.append(Found(name, share, relative))
                if theirs is not None and relative < WORTH:
                    schedules.keep(computed[name], theirs)
    finally:
        helper.close()
    return schedules, found


@dataclass
class _Bench:
    """Builds kernels in a helper process and times them by ``racer``, until ``end``."""

    profile: Profile
    racer: Racer
    helper: Child
    folder: Path
    end: float
    _number: Iterator[int] = field(default_factory=count)

    @property
    def left(self) -> float:
        """Seconds of the search that are left."""
        return self.end - time.monotonic()

    def weights(self, kernels: Sequence[Kernel], scheduled: tvm.IRModule) -> dict[str, float]:
        """Shares of the network's time of the kernels with most operations, the largest first."""
        seconds = {}
        heavy = sorted(kernels, key=lambda kernel: -kernel.operations * kernel.calls)[:MOST_KERNELS]
        for kernel in heavy:
            with suppress(MeasureError, ChildDiedError, ChildRaisedError):
                (lap,) = self.racer.race([self._built(scheduled[kernel.name])], _UNREAD)
                seconds[kernel.name] = kernel.calls * lap.median_s
        total = sum(seconds.values())
        return {name: each / total for name, each in sorted(seconds.items(), key=lambda item: -item[1])}

    def searched(self, function: PrimFunc, seconds: float) -> PrimFunc | None:
        """The best schedule found within a hard limit of time, None for none."""
        folder = self.folder / str(next(self._number))
        folder.mkdir()
        text = tvm.ir.save_json(tvm.IRModule({"main": function.with_attr("global_symbol", "main")}))
        searcher = Child()
        try:
            searcher.ask(search, text, self.profile, folder, limit_s=seconds)
        except (ChildDiedError, ChildRaisedError):
            pass  # killed as it was to be, or failed: what it found by then counts
        finally:
            searcher.close()
        try:
            best: str | None = self.helper.ask(best_found, text, self.profile, folder, limit_s=BUILD_S)
        except (ChildDiedError, ChildRaisedError):
            return None
        return None if best is None else tvm.ir.load_json(best)

    def relative(self, ours: PrimFunc, theirs: PrimFunc) -> float:
        """The time of their kernel over that of ours; infinite if it cannot run or computes something else."""
        try:
            lap = self.racer.race([self._built(ours), self._built(theirs)], _UNREAD)[1]
        except (ChildDiedError, ChildRaisedError, MeasureError):
            return math.inf
        return math.inf if lap.fault else lap.relative

    def _built(self, function: PrimFunc) -> Path:
        library = self.folder / f"kernel{next(self._number)}.so"
        self.helper.ask(build_scheduled, function, self.profile, library, limit_s=BUILD_S)
        return library
