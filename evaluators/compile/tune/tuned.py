"""One network compiled, its kernels tuned first, and whether that was worth it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import tvm

from evaluators.compile.choices import first
from evaluators.compile.compiler import Compiled, compile_module
from evaluators.compile.tune.builders import Builders
from evaluators.compile.tune.database import Database, default_path
from evaluators.compile.tune.racer import ChildRacer
from evaluators.compile.tune.search import Tuned, Tuner
from evaluators.latency.quiet import QuietCores
from hw_profiles.profile import Profile
from results.bundle.runner import random_inputs
from understudy import MeasureError


@dataclass(frozen=True)
class Tuning:
    """What came of tuning: a row for each kernel, the seconds it took, and the network's time over that before.

    ``relative`` is the median of what both took in turn; it is 1 when nothing was faster, and the network is as
    it was then.
    """

    table: tuple[Tuned, ...]
    seconds: float
    relative: float

    def __str__(self) -> str:
        changed = sum(row.best_s < row.default_s for row in self.table)
        return (
            f"tuned {len(self.table)} kernels in {self.seconds:.0f} s, {changed} of them faster: the network "
            f"takes {100 * (1 - self.relative):.1f} % less time (before and after timed in turn)"
        )


@contextmanager
def open_tuner(profile: Profile, seconds: float, quiet: QuietCores) -> Iterator[Tuner]:
    """A tuner on this computer with the user's own database.

    Raises ``MeasureError`` when the profile's code does not run here.
    """
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
    module: tvm.IRModule, profile: Profile, library: Path, seconds: float, quiet: QuietCores
) -> tuple[Compiled, Tuning]:
    """Compile an imported network into ``library``, at most ``seconds`` of tuning first.

    The network is compiled as the model says, too, and the faster of both is kept. Raises as ``compile_module``
    does, and ``MeasureError`` when the profile's code does not run here.
    """
    before = library.with_name(f"before-{library.name}")
    try:
        with open_tuner(profile, seconds, quiet) as tuner:
            compiled = compile_module(module, profile, before, first)
            start = time.monotonic()
            choose = tuner(module)
            took = time.monotonic() - start
            changed = any(row.best_s < row.default_s for row in tuner.table)
            after = compile_module(module, profile, library, choose) if changed else compiled
            relative = _relative(tuner, before, after) if changed else 1.0
        if relative < 1:
            compiled = after
        else:
            before.replace(library)
    finally:
        before.unlink(missing_ok=True)
    stages = {**compiled.seconds, "tune": took}
    return replace(compiled, library=library, seconds=stages), Tuning(tuple(tuner.table), took, min(relative, 1.0))


def _relative(tuner: Tuner, before: Path, after: Compiled) -> float:
    """The time of the tuned network over that of the other; 1 when that cannot be told."""
    try:
        laps = tuner.racer.race([before, after.library], random_inputs([spec.to_json() for spec in after.inputs]))
    except MeasureError:
        return 1.0
    return 1.0 if laps[1].fault else laps[1].relative
