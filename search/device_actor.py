"""The actors that own what measures, and the handle through which workers reach one."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from evaluators.device import Device
from evaluators.latency.race import Lap
from evaluators.without_torch import keep_torch_out
from hw_profiles.profile import Profile
from results.bundle.runner import MAIN, Inputs
from results.measurement import Measurement
from search.plan import Plan
from understudy import MeasureError

DEADLINE_S = 120.0
CRASHES = 2
CALLERS = 64
"""Calls that the owner of boards takes at once: more than a search has workers."""


class _Owner:
    """Lives in its own process; a compiled student that crashes takes only this process with it."""

    def __init__(self, plan: Plan, profile: Profile) -> None:
        if plan.boards(profile) is None:
            keep_torch_out()
        self._device: Device = plan.open_device(profile)

    def ready(self) -> None:
        """Answers as soon as the process has started."""

    def run(self, library: Path, inputs: Inputs, program: str) -> Any:
        return self._device.run(library, inputs, program)

    def measure(self, library: Path, inputs: Inputs, program: str) -> Measurement:
        return self._device.measure(library, inputs, program)

    def race(self, libraries: Sequence[Path], inputs: Inputs) -> list[Lap]:
        return self._device.race(libraries, inputs)


class RemoteDevice:
    """A device as a worker sees it: it holds this computer while its call runs, so that a crash is its own.

    A student that crashes the owner twice is a ``MeasureError``; Ray starts the owner again. One that gives no
    answer within ``deadline_s`` is one too, and its owner is replaced. Boards need no ``lease``: their owner
    serves several callers at once, and what crashes there is not the owner.
    """

    def __init__(self, owner: Any, lease: Path | None, deadline_s: float = DEADLINE_S) -> None:
        self._owner, self._lease, self._deadline_s = owner, lease, deadline_s

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemoteDevice) and self._owner._actor_id == other._owner._actor_id

    def __hash__(self) -> int:
        return hash(self._owner._actor_id)

    def run(self, library: Path, inputs: Inputs, program: str = MAIN) -> Any:
        """See ``Device.run``."""
        return self._ask(self._owner.run, library, inputs, program)

    def measure(self, library: Path, inputs: Inputs, program: str = MAIN) -> Measurement:
        """See ``Device.measure``."""
        answer: Measurement = self._ask(self._owner.measure, library, inputs, program)
        return answer

    def race(self, libraries: Sequence[Path], inputs: Inputs) -> list[Lap]:
        """See ``Device.race``."""
        answer: list[Lap] = self._ask(self._owner.race, libraries, inputs)
        return answer

    def close(self) -> None:
        """The owner serves others too, and gives back by itself what it does not use."""

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if self._lease is None:
            yield
            return
        with self._lease.open("a") as lease:
            fcntl.flock(lease, fcntl.LOCK_EX)
            yield

    def _ask(self, method: Any, *arguments: object) -> Any:
        with self._alone():
            for _ in range(CRASHES):
                try:
                    return ray.get(method.remote(*arguments), timeout=self._deadline_s)
                except RayActorError as error:
                    if error.actor_init_failed:
                        raise MeasureError(f"what measures cannot start: {_last_line(error)}") from error
                    # once may be another's doing: the system's for want of memory, a person's
                    self._wait_for_owner()
                except RayTaskError as error:
                    raise error.cause from None
                except GetTimeoutError as error:
                    ray.kill(self._owner, no_restart=False)
                    raise MeasureError(
                        f"the device gave no answer within {self._deadline_s:.0f} s: the student hangs, or "
                        "another program holds the cores"
                    ) from error
        raise MeasureError(
            "the compiled student crashed the process that ran it (an instruction this processor lacks, or too "
            "little memory): check this computer with `understudy doctor`"
        )

    def _wait_for_owner(self) -> None:
        """Until it was started again: a call of one that is starting fails as if it had crashed."""
        end = time.monotonic() + self._deadline_s
        while time.monotonic() < end:
            try:
                ray.get(self._owner.ready.remote(), timeout=self._deadline_s)
                return
            except GetTimeoutError:
                return
            except RayActorError:
                time.sleep(0.2)


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1]


Devices = tuple[RemoteDevice | None, ...]
"""One a profile of a search; None where latencies are predicted."""


def start_devices(plan: Plan) -> Devices:
    """An owner for each measured profile, on the machine of the driver, restarted whenever it dies."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return tuple(_start(plan, profile, here) if plan.measured(profile) else None for profile in plan.profiles)


def _start(plan: Plan, profile: Profile, here: NodeAffinitySchedulingStrategy) -> RemoteDevice:
    owner, options = ray.remote(_Owner), {"num_cpus": 0, "max_restarts": -1, "scheduling_strategy": here}
    if plan.boards(profile) is None:
        return RemoteDevice(owner.options(**options).remote(plan, profile), plan.lock.with_suffix(".lease"))
    from evaluators.boards.device import LONGEST_S

    boards = owner.options(**options, max_concurrency=CALLERS).remote(plan, profile)
    return RemoteDevice(boards, None, LONGEST_S)
