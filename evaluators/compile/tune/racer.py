"""Where options are timed when there is no device that outlives a crash: a child process of this computer."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from evaluators.compile.tune.child import START_S, Child, ChildDiedError, ChildRaisedError
from evaluators.latency.host import HostDevice
from evaluators.latency.quiet import QuietCores
from evaluators.latency.race import Lap
from hw_profiles.profile import Profile
from results.bundle.runner import Inputs
from understudy import MeasureError

RACE_S = 60.0


class ChildRacer:
    """``race`` of a ``Device``, in a process that may crash."""

    def __init__(self, profile: Profile, quiet: QuietCores | None) -> None:
        self._profile = profile
        self._quiet = quiet
        self._child = Child()

    def race(self, libraries: Sequence[Path], inputs: Inputs) -> list[Lap]:
        """See ``Device.race``.

        The cores are held here, not in the child: one that waits for them is not late.
        """
        try:
            self._child.ask(_imported, limit_s=START_S)
            with nullcontext() if self._quiet is None else self._quiet.quiet():
                laps: list[Lap] = self._child.ask(_race, self._profile, libraries, inputs, limit_s=RACE_S)
            return laps
        except (ChildRaisedError, ChildDiedError) as error:
            raise MeasureError(f"a kernel could not be timed: {error}") from error

    def close(self) -> None:
        """End the process."""
        self._child.close()


def _imported() -> None:
    """What a new process is asked before the cores are held: finding it imports all that a race takes."""


def _race(profile: Profile, libraries: Sequence[Path], inputs: Inputs) -> list[Lap]:
    return HostDevice(profile).race(libraries, inputs)
