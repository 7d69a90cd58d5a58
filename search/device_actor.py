"""The one actor that owns the measured cores, and the handle through which workers reach it."""

from __future__ import annotations

import fcntl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from evaluators.device import Device
from evaluators.latency.race import Lap
from hw_profiles.profile import Profile
from results.bundle.runner import Inputs
from results.measurement import Measurement
from search.plan import Plan
from understudy import MeasureError

DEADLINE_S = 120.0
CRASHES = 2


class _Owner:
    """Lives in its own process; a compiled student that crashes takes only this process with it."""

    def __init__(self, plan: Plan, profile: Profile) -> None:
        self._device: Device = plan.open_device(profile)

    def run(self, library: Path, inputs: Inputs) -> Any:
        return self._device.run(library, inputs)

    def measure(self, library: Path, inputs: Inputs) -> Measurement:
        return self._device.measure(library, inputs)

    def race(self, libraries: Sequence[Path], inputs: Inputs) -> list[Lap]:
        return self._device.race(libraries, inputs)


class RemoteDevice:
    """The device as a worker sees it: it holds the device while its call runs, so that a crash is its own.

    A student that crashes the owner twice is a ``MeasureError``; Ray starts the owner again. One that gives no
    answer within ``DEADLINE_S`` is one too, and its owner is replaced.
    """

    def __init__(self, owner: Any, lease: Path) -> None:
        self._owner, self._lease = owner, lease

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemoteDevice) and self._owner._actor_id == other._owner._actor_id

    def __hash__(self) -> int:
        return hash(self._owner._actor_id)

    def run(self, library: Path, inputs: Inputs) -> Any:
        """See ``Device.run``."""
        return self._ask(self._owner.run, library, inputs)

    def measure(self, library: Path, inputs: Inputs) -> Measurement:
        """See ``Device.measure``."""
        answer: Measurement = self._ask(self._owner.measure, library, inputs)
        return answer

    def race(self, libraries: Sequence[Path], inputs: Inputs) -> list[Lap]:
        """See ``Device.race``."""
        answer: list[Lap] = self._ask(self._owner.race, libraries, inputs)
        return answer

    def _ask(self, method: Any, what: object, inputs: Inputs) -> Any:
        with self._lease.open("a") as lease:
            fcntl.flock(lease, fcntl.LOCK_EX)
            for _ in range(CRASHES):
                try:
                    return ray.get(method.remote(what, inputs), timeout=DEADLINE_S)
                except RayActorError:
                    continue  # once may be another's doing: the system's for want of memory, a person's
                except RayTaskError as error:
                    raise error.cause from None
                except GetTimeoutError as error:
                    ray.kill(self._owner, no_restart=False)
                    raise MeasureError(
                        f"the device gave no answer within {DEADLINE_S:.0f} s: the student hangs, or another "
                        "program holds the cores"
                    ) from error
        raise MeasureError(
            "the compiled student crashed the process that ran it (an instruction this processor lacks, or too "
            "little memory): check this computer with `understudy doctor`"
        )


def start_devices(plan: Plan) -> tuple[RemoteDevice, ...]:
    """An owner for each profile, on the machine of the driver, restarted whenever it dies."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    owner = ray.remote(_Owner).options(num_cpus=0, max_restarts=-1, scheduling_strategy=here)
    lease = plan.lock.with_suffix(".lease")
    return tuple(RemoteDevice(owner.remote(plan, profile), lease) for profile in plan.profiles)
