"""Boards as the device that students run on."""

from __future__ import annotations

import shutil
import tempfile
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evaluators.boards.address import BoardAddress
from evaluators.boards.client import CONNECT_S, BoardLostError, Client
from evaluators.boards.pool import ClientPool
from evaluators.boards.reference import compile_reference
from evaluators.boards.sampling import Samples
from evaluators.compile.kernel_times import Kernel, link_alone, stream_kernel
from evaluators.compile.tune.child import START_S
from evaluators.latency.race import Lap
from hw_profiles.profile import Profile
from results.bundle.runner import MAIN, Inputs, as_tuple
from results.measurement import Measurement
from understudy import DeviceLost, MeasureError

LIMIT_S = 2.0
EMULATED_S = 0.2
"""Seconds of timing on an emulated board, where it means nothing."""
WAIT_S = 120.0
"""Seconds for which a call waits for a free board."""
AWAY_S = 20.0
"""Seconds for which a call waits once there was no board for the one before."""
CALL_S = 60.0
"""Seconds in which a board answers any call, or is taken for lost."""
TRIES = 2
SLOWED = 0.1
"""A board whose reference is slower by this share than it once was is given time to cool."""
COOL_S = 5.0
_COOLINGS = 2
LONGEST_S = (1 + _COOLINGS) * (START_S + TRIES * (WAIT_S + CONNECT_S + CALL_S) + COOL_S)
"""Seconds that no call takes longer than."""


class BoardDevice:
    """Runs and times students on whichever board of an address is free; may be called from several threads.

    A student is checked where it is measured. A call whose board is lost is made again on another; a student
    that ends two sessions is at fault itself. Times are taken on the board by TVM's own timer: the network, and
    what the runner of bundles copies in a call, on a GPU all inputs to it and outputs back. ``HostDevice`` times
    the runner itself, which is Python and takes a few microseconds more (4 of 43 for a student of 32 pixels).
    """

    def __init__(
        self,
        address: BoardAddress,
        profile: Profile,
        limit_s: float = LIMIT_S,
        wait_s: float = WAIT_S,
        call_s: float = CALL_S,
    ) -> None:
        """``limit_s`` bounds the timing of a student, ``wait_s`` the wait for a board, ``call_s`` a call to it."""
        self.address, self.profile = address, profile
        self._limit_s = min(limit_s, EMULATED_S) if address.emulated else limit_s
        self._wait_s = wait_s
        self._away = False
        self._pool = ClientPool(address, profile.threads, call_s, profile.gpu is not None)
        self._fastest: dict[str, float] = {}
        self._folder = Path(tempfile.mkdtemp(prefix="understudy-reference-"))
        self._forget = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)

    def run(self, library: Path, inputs: Inputs, program: str = MAIN) -> Any:
        """See ``Device.run``; raises ``DeviceLost`` when there is no board."""
        from evaluators.boards.remote import run

        _, outputs = self._ask(run, _present(library), as_tuple(inputs), program)
        return outputs[0] if len(outputs) == 1 else outputs

    def measure(self, library: Path, inputs: Inputs, program: str = MAIN) -> Measurement:
        """See ``Device.measure``; raises ``DeviceLost`` when there is no board.

        The interval holds the quartiles, and half of what the reference drifted meanwhile.
        """
        board, samples, told = self._steady(_present(library), inputs, program)
        median = float(np.median(samples.student))
        low, high = np.quantile(samples.student, (0.25, 0.75))
        drift = abs(samples.drift) / 2 * median
        return Measurement(
            value=median,
            unit="s",
            source="emulated" if self.address.emulated else "measured",
            low=min(float(low), median - drift),
            high=max(float(high), median + drift),
            repeats=len(samples.student),
            conditions=_conditions(board, 0.0 if self.address.emulated else self._slowed(board, samples), told),
        )

    def race(self, libraries: Sequence[Path], inputs: Inputs) -> list[Lap]:
        """See ``Device.race``; raises ``DeviceLost`` when there is no board."""
        from evaluators.boards.remote import race_there

        laps: list[Lap] = self._ask(race_there, [_present(each) for each in libraries], as_tuple(inputs))[1]
        return laps

    def time_kernels(
        self, library: Path, inputs: Inputs, kernels_library: Path, kernels: Sequence[Kernel]
    ) -> tuple[float, list[float]]:
        """Seconds of a student, and of kernels that lie in a library of their own; raises as ``measure`` does.

        A board that was slower at the end than at the beginning is given time to cool, and asked again.
        """
        from evaluators.boards.remote_kernels import time_there

        arguments = library, as_tuple(inputs), self._reference(), kernels_library, list(kernels)
        for rest_s in (COOL_S,) * _COOLINGS + (0.0,):
            whole, seconds, drift = self._ask(time_there, *arguments, self._limit_s)[1]
            if self.address.emulated or drift < SLOWED:
                break
            time.sleep(rest_s)
        return whole, seconds

    def bandwidth(self, size: int) -> float:
        """Bytes a second that the board moves between ``size`` bytes of memory; raises as ``measure`` does."""
        from evaluators.boards.remote_kernels import time_alone

        scheduled, kernel = stream_kernel(size, self.profile)
        library = self._folder / "stream.so"
        link_alone(scheduled, [kernel], self.profile, library)
        (seconds,) = self._ask(time_alone, library, [kernel])[1]
        return kernel.bytes / float(seconds)

    def close(self) -> None:
        """Give all boards back."""
        self._pool.close()
        self._forget()

    def _steady(self, library: Path, inputs: Inputs, program: str) -> tuple[str, Samples, Mapping[str, float]]:
        """Samples of a board that runs as fast as it ever did, or those of its best moment of three."""
        best: tuple[str, Samples, Mapping[str, float]] | None = None
        for rest_s in (COOL_S,) * _COOLINGS + (0.0,):
            found = self._samples(library, inputs, program)
            if best is None or np.median(found[1].reference) < np.median(best[1].reference):
                best = found
            if self.address.emulated or self._slowed(*found[:2]) < SLOWED:
                break
            time.sleep(rest_s)
        assert best is not None
        return best

    def _samples(self, library: Path, inputs: Inputs, program: str) -> tuple[str, Samples, Mapping[str, float]]:
        from evaluators.boards.remote import measure

        arguments = library, as_tuple(inputs), program, self._reference(), self._limit_s
        board, (samples, told) = self._ask(measure, *arguments)
        now = float(np.median(samples.reference))
        self._fastest[board] = min(now, self._fastest.get(board, now))
        return board, samples, told

    def _slowed(self, board: str, samples: Samples) -> float:
        """How much slower a board was than it once was, as a share."""
        return float(np.median(samples.reference)) / self._fastest[board] - 1

    def _reference(self) -> Path:
        """The compiled reference; several first callers at once each make it, and the last one's stays."""
        library = self._folder / "reference.so"
        if not library.exists():
            with tempfile.TemporaryDirectory(dir=self._folder) as folder:
                made = Path(folder) / library.name
                compile_reference(self.profile, made)
                made.replace(library)
        return library

    def _ask(self, function: Callable[..., Any], *arguments: object) -> tuple[str, Any]:
        """The board and its answer."""
        lost: list[str] = []
        with self._pool.client() as client:
            for _ in range(TRIES):
                board = self._leased(client)
                try:
                    return board, client.ask(function, *arguments)
                except BoardLostError as error:
                    lost.append(str(error))
        raise MeasureError(
            f"the student crashed or hung where it ran ({', then '.join(lost)}): it needs an instruction that "
            f"{self.profile.name} promises and the board lacks, or too much memory"
        )

    def _leased(self, client: Client) -> str:
        """A board for a client; once there was none, the next calls do not wait long for one to come back."""
        try:
            board = client.lease(min(self._wait_s, AWAY_S) if self._away else self._wait_s)
        except DeviceLost:
            self._away = True
            raise
        self._away = False
        return board


def _present(library: Path) -> Path:
    if not library.is_file():
        raise MeasureError(f"there is no compiled library {library}: restore it, or search again")
    return library.absolute()


def _conditions(board: str, slowed: float, told: Mapping[str, float]) -> str:
    """The board, how much slower than its best it was, and its clock and temperature where it tells them."""
    parts = [f"board {board}"]
    if slowed >= SLOWED:
        parts.append(f"throttled: {slowed:.0%} slower than at its best")
    if "clock_khz" in told:
        parts.append(f"{told['clock_khz'] / 1e6:.2f} GHz")
    if "millidegrees" in told:
        parts.append(f"{told['millidegrees'] / 1e3:.0f} °C")
    return ", ".join(parts)
