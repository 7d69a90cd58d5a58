"""Where options are timed when there is no device that outlives a crash: a child process of this computer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from evaluators.compile.tune.child import Child, ChildDiedError, ChildRaisedError
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
        self._lock = None if quiet is None else quiet.path
        self._child = Child()

    def race(self, libraries: Sequence[Path], inputs: Inputs) -> list[Lap]:
        """See ``Device.race``."""
        try:
            laps: list[Lap] = self._child.ask(_race, self._profile, self._lock, libraries, inputs, limit_s=RACE_S)
            return laps
        except (ChildRaisedError, ChildDiedError) as error:
            raise MeasureError(f"a kernel could not be timed: {error}") from error

    def close(self) -> None:
        """End the process."""
        self._child.close()


def _race(profile: Profile, lock: Path | None, libraries: Sequence[Path], inputs: Inputs) -> list[Lap]:
    return _device(profile, lock).race(libraries, inputs)


@lru_cache(maxsize=1)
def _device(profile: Profile, lock: Path | None) -> HostDevice:
    return HostDevice(profile, None if lock is None else QuietCores(lock))
