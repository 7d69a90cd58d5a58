"""This computer as the device that students run on."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory
from typing import Any

from evaluators.latency.quiet import QuietCores
from evaluators.latency.race import Lap, race
from hw_profiles.profile import Profile
from results.bundle.runner import MAIN, BundleProblem, CompiledStudent, Inputs, as_tuple, measure_latency
from results.measurement import Measurement
from results.store import disk_room
from understudy import MeasureError

LIMIT_S = 1.0


class HostDevice:
    """Runs and times compiled students in this process.

    A library compiled for another processor ends the process that runs it (SIGILL): what owns the device in a
    search is a process of its own, which is started again when that happens, and ``HostDevice`` refuses a
    profile that is not of this computer before anything is loaded.
    """

    def __init__(self, profile: Profile, quiet: QuietCores | None = None, limit_s: float = LIMIT_S) -> None:
        """``quiet`` keeps this project's other work off the cores meanwhile; ``limit_s`` bounds a measurement.

        Raises ``MeasureError`` when this computer cannot run the profile's students.
        """
        if profile.reach != "host":
            raise MeasureError(
                f"students for {profile.name} cannot run here (it needs {profile.mcpu}): use --profile x86-host"
            )
        self.profile = profile
        self._quiet = quiet
        self._limit_s = limit_s
        self._loaded: tuple[tuple[object, ...], CompiledStudent] | None = None

    def run(self, library: Path, inputs: Inputs, program: str = MAIN) -> Any:
        """The student's output for its inputs, or a tuple of them where it has several.

        Raises ``MeasureError`` when it cannot run, ``RunError`` when the disk is full.
        """
        with _problems():
            return self._load(library).program(program)(*as_tuple(inputs))

    def measure(self, library: Path, inputs: Inputs, program: str = MAIN) -> Measurement:
        """The latency of one inference in seconds: the median with its quartiles and number of repeats.

        Raises as ``run`` does.
        """
        with _problems():
            student = self._load(library).program(program)
            with self._alone():
                return _measurement(measure_latency(student, inputs, self._limit_s))

    def race(self, libraries: Sequence[Path], inputs: Inputs) -> list[Lap]:
        """Several libraries, each of a name never used before, that compute the same on ``inputs``: timed in turn.

        Raises as ``run`` does.
        """
        with _problems():
            students = [CompiledStudent(library, self.profile.threads) for library in libraries]
            with self._alone():
                return race(students, inputs)

    def close(self) -> None:
        """Let the last student go."""
        self._loaded = None

    def _alone(self) -> AbstractContextManager[None]:
        return nullcontext() if self._quiet is None else self._quiet.quiet()

    def _load(self, library: Path) -> CompiledStudent:
        """The student of a file; the last one is kept, so that several inputs cost one loading.

        It is loaded from a copy, since the loader answers a path that it knows with the old library.
        """
        if not library.is_file():
            raise MeasureError(f"there is no compiled library {library}: restore it, or search again")
        facts = library.stat()
        key = (library.absolute(), facts.st_ino, facts.st_mtime_ns, facts.st_size)
        if self._loaded is None or self._loaded[0] != key:
            parent = library.absolute().parent
            with disk_room(library), TemporaryDirectory(prefix=".load-", dir=parent) as folder:
                copy = copyfile(library, Path(folder) / library.name)
                self._loaded = key, CompiledStudent(copy, self.profile.threads)
        return self._loaded[1]


def pooled(rounds: Sequence[Measurement]) -> Measurement:
    """One figure of several measurements of the same student: the medians of their medians and quartiles.

    Of three rounds, one that something else on the machine disturbed has no say.
    """
    return Measurement(
        value=statistics.median(each.value for each in rounds),
        unit=rounds[0].unit,
        low=statistics.median(each.value if each.low is None else each.low for each in rounds),
        high=statistics.median(each.value if each.high is None else each.high for each in rounds),
        repeats=sum(each.repeats for each in rounds),
        source=rounds[0].source,
        conditions=rounds[0].conditions,
    )


def _measurement(figures: dict[str, float]) -> Measurement:
    return Measurement(
        value=figures["median_s"],
        unit="s",
        low=figures["low_s"],
        high=figures["high_s"],
        repeats=int(figures["repeats"]),
    )


@contextmanager
def _problems() -> Iterator[None]:
    try:
        yield
    except BundleProblem as problem:
        raise MeasureError(str(problem)) from problem
