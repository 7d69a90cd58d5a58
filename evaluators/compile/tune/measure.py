"""Building and timing options of kernels within a limit of time, whatever they do."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Protocol

import numpy as np

from evaluators.compile.choices import Choice, spelled
from evaluators.compile.tune.builders import Builders
from evaluators.compile.tune.cases import Case
from evaluators.latency.quiet import BusyError
from evaluators.latency.race import Lap
from results.bundle.runner import Inputs
from understudy import DeviceLost, MeasureError

UNREAD = np.zeros(1, np.float32)
"""What libraries of single kernels are called with."""


class Racer(Protocol):
    """What times libraries in turn: a ``Device``, or a child process."""

    def race(self, libraries: Sequence[Path], inputs: Inputs) -> list[Lap]:
        """See ``Device.race``."""
        ...


@dataclass(frozen=True)
class Library:
    """A kernel built: its file, and how often one call runs it."""

    path: Path
    copies: int


@dataclass
class Measuring:
    """Builds and times until ``end`` (by ``time.monotonic``), in a folder of its own.

    An option that cannot be built, gives other results than the model's own, or ends the process that runs it is a
    ``Lap`` with a fault: known, and never taken.
    """

    racer: Racer
    builders: Builders
    working: Callable[[], AbstractContextManager[object]]
    folder: Path
    end: float
    _default: dict[str, Library] = field(default_factory=dict)
    _number: Iterator[int] = field(default_factory=count)

    @property
    def over(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() >= self.end

    def defaults(self, cases: Sequence[Case]) -> Iterator[tuple[Case, Lap]]:
        """The model's own choice of each kernel, until the time is up.

        Each is timed as soon as it is built, so that a short time leaves a few known rather than many built.
        """
        at = 0
        while at < len(cases) and not self.over:
            some = cases[at : at + self.builders.count]
            at += self.builders.count
            for case, built in zip(some, self._built([(case, case.options[0]) for case in some]), strict=True):
                if isinstance(built, Library):
                    self._default[str(case.key)] = built
                    (lap,) = self._raced([built])
                    yield case, lap
                elif built and isinstance(built, str):
                    yield case, Lap(fault=built)

    def options(self, case: Case, options: Sequence[Choice]) -> dict[str, Lap]:
        """Some options of a kernel, timed in turn with the model's own; those that the time was too short for are
        left out."""
        if not options:
            return {}
        default = self._default.get(str(case.key))
        if default is None:
            (built,) = self._built([(case, case.options[0])])
            if not isinstance(built, Library):
                return {spelled(option): Lap(fault="no default") for option in options} if built else {}
            default = self._default[str(case.key)] = built
        names = [spelled(option) for option in options]
        built_options = dict(zip(names, self._built([(case, option) for option in options]), strict=True))
        laps = {
            name: Lap(fault=fault) for name, fault in built_options.items() if isinstance(fault, str) and fault
        }
        libraries = {name: built for name, built in built_options.items() if isinstance(built, Library)}
        if libraries:
            raced = self._raced([default, *libraries.values()])
            laps |= dict(zip((spelled(case.options[0]), *libraries), raced, strict=True))
            for library in libraries.values():
                library.path.unlink(missing_ok=True)
        return laps

    def _built(self, wanted: Sequence[tuple[Case, Choice]]) -> list[Library | str]:
        """Each as a library, or why it is none; empty where the time was too short."""
        paths = [self.folder / f"kernel{next(self._number)}.so" for _ in wanted]
        with self.working():
            answers = self.builders.build(
                [(case, option, path) for (case, option), path in zip(wanted, paths, strict=True)], self.end
            )
        return [
            answer if isinstance(answer, str) else Library(path, answer)
            for path, answer in zip(paths, answers, strict=True)
        ]

    def _raced(self, libraries: Sequence[Library]) -> list[Lap]:
        """The laps of all; when that ends the process, each beside the first, to find which one did."""
        try:
            laps = self.racer.race([library.path for library in libraries], UNREAD)
        except (BusyError, DeviceLost):  # which say nothing of the kernels
            raise
        except MeasureError as error:
            if len(libraries) <= 2:
                return [Lap(fault=f"crashed: {error}")] * len(libraries)
            first, *others = libraries
            pairs = [self._raced([first, other]) for other in others]
            firsts = [pair[0] for pair in pairs if not pair[0].fault] or [pairs[0][0]]
            return [firsts[0], *(pair[1] for pair in pairs)]
        return [_each(lap, library.copies) for lap, library in zip(laps, libraries, strict=True)]


def _each(lap: Lap, copies: int) -> Lap:
    """The figures of one run of the kernel from those of a call that runs it several times."""
    return dataclasses.replace(
        lap, median_s=lap.median_s / copies, low_s=lap.low_s / copies, high_s=lap.high_s / copies
    )
