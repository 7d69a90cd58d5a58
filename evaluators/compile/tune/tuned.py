"""One network compiled, its kernels tuned first, and whether that was worth it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import tvm

from evaluators.compile.choices import first
from evaluators.compile.compiler import Compiled, compile_module, link_kernels
from evaluators.compile.tune.builders import Builders
from evaluators.compile.tune.database import Database, default_path
from evaluators.compile.tune.metaschedule import Schedules, find_schedules, replaced_kernels
from evaluators.compile.tune.racer import ChildRacer
from evaluators.compile.tune.search import Tuned, Tuner
from evaluators.latency.quiet import QuietCores
from hw_profiles.profile import Profile
from results.bundle.runner import random_inputs
from understudy import CompileError, MeasureError


@dataclass(frozen=True)
class TuningRequest:
    """How long to tune, and whether half of it is for MetaSchedule; with 0 seconds what is known is used."""

    seconds: float
    metaschedule: bool = False


@dataclass(frozen=True)
class Tuning:
    """What came of tuning: a row for each kernel, the seconds it took, and the network's time over that before.

    ``relative`` is the median of what both took in turn; it is 1 when nothing was faster, and the network is as
    it was then. ``schedules`` are MetaSchedule's, where it was asked.
    """

    table: tuple[Tuned, ...]
    seconds: float
    relative: float
    schedules: Schedules | None = None

    def __str__(self) -> str:
        changed = sum(row.best_s < row.default_s for row in self.table)
        return (
            f"tuned {len(self.table)} kernels in {self.seconds:.0f} s, {changed} of them faster: the network "
            f"takes {100 * (1 - self.relative):.1f} % less time (before and after timed in turn)"
        )


@contextmanager
def open_tuner(profile: Profile, seconds: float, quiet: QuietCores) -> Iterator[Tuner]:
    """A tuner on this computer with the user's own database.

    Raises ``MeasureError`` for a GPU and when the profile's code does not run here.
    """
    if profile.gpu is not None:
        raise MeasureError(f"kernels of a GPU are not tuned ({profile.name}): leave out --tune")
    if profile.reach != "host":
        raise MeasureError(
            f"kernels for {profile.name} cannot be timed on this computer: leave out --tune, or tune on the device"
        )
    racer, builders = ChildRacer(profile, quiet), Builders(profile, profile.cores)
    try:
        yield Tuner(profile, Database(default_path()), racer, builders, seconds, quiet.working)
    finally:
        racer.close()
        builders.close()


def compile_tuned(
    module: tvm.IRModule, profile: Profile, library: Path, request: TuningRequest, quiet: QuietCores
) -> tuple[Compiled, Tuning]:
    """Compile an imported network into ``library``, tuned first.

    The network is compiled as the models say, too, and
    the fastest is kept. Raises as ``compile_module`` does, and ``MeasureError`` when the profile's code does not
    run here.
    """
    share = request.seconds / 2 if request.metaschedule else request.seconds
    with (
        open_tuner(profile, share, quiet) as tuner,
        tempfile.TemporaryDirectory(dir=library.parent, prefix=".tune-") as folder,
    ):
        ways = [compile_module(module, profile, Path(folder) / "modelled.so", first)]
        start = time.monotonic()
        choose = tuner(module)
        schedules = find_schedules(tuner, choose, quiet.path, share) if request.metaschedule else None
        took = time.monotonic() - start
        if any(row.best_s < row.default_s for row in tuner.table):
            ways.append(compile_module(module, profile, Path(folder) / "tuned.so", choose))
        if schedules is not None and schedules.faster:
            with suppress(CompileError, MeasureError):  # a schedule that does not fit what is fused here
                kernels = replaced_kernels(module, tuner, choose, schedules.faster)
                ways.append(link_kernels(kernels, profile, Path(folder) / "scheduled.so"))
        relative, best = _fastest(tuner, ways)
        best.library.replace(library)
    stages = {**best.seconds, "tune": took}
    tuning = Tuning(tuple(tuner.table), took, relative, schedules)
    return replace(best, library=library, seconds=stages), tuning


def _fastest(tuner: Tuner, ways: Sequence[Compiled]) -> tuple[float, Compiled]:
    """The fastest network and its time over that of the first; the first itself where that cannot be told."""
    if len(ways) == 1:
        return 1.0, ways[0]
    inputs = random_inputs([spec.to_json() for spec in ways[0].inputs])
    try:
        laps = tuner.racer.race([way.library for way in ways], inputs)
    except MeasureError:
        return 1.0, ways[0]
    timed = [(lap.relative, at) for at, lap in enumerate(laps) if not lap.fault]
    relative, at = min(timed, default=(1.0, 0))
    return (relative, ways[at]) if relative < 1 else (1.0, ways[0])
