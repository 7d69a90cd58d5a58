"""The one actor that owns the measured cores, and the handle through which workers reach it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray
from ray.exceptions import GetTimeoutError, RayActorError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from evaluators.device import Device
from results.measurement import Measurement
from search.plan import Plan
from understudy import MeasureError

DEADLINE_S = 120.0


class _Owner:
    """Lives in its own process; a compiled student that crashes takes only this process with it."""

    def __init__(self, plan: Plan) -> None:
        self._device: Device = plan.open_device()

    def run(self, library: Path, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._device.run(library, inputs)

    def measure(self, library: Path, inputs: NDArray[np.float32]) -> Measurement:
        return self._device.measure(library, inputs)


class RemoteDevice:
    """The device as a worker sees it: every call goes to the owner, one after the other.

    A crash of the owner is a ``MeasureError`` of the student that was running; Ray starts the owner again. No
    answer within ``DEADLINE_S`` is one too.
    """

    def __init__(self, owner: Any) -> None:
        self._owner = owner

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemoteDevice) and self._owner._actor_id == other._owner._actor_id

    def __hash__(self) -> int:
        return hash(self._owner._actor_id)

    def run(self, library: Path, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """See ``Device.run``."""
        answer: NDArray[np.float32] = self._ask(self._owner.run.remote(library, inputs))
        return answer

    def measure(self, library: Path, inputs: NDArray[np.float32]) -> Measurement:
        """See ``Device.measure``."""
        answer: Measurement = self._ask(self._owner.measure.remote(library, inputs))
        return answer

    def _ask(self, reference: Any) -> Any:
        try:
            return ray.get(reference, timeout=DEADLINE_S)
        except GetTimeoutError as error:
            ray.cancel(reference)
            raise MeasureError(
                f"the device gave no answer within {DEADLINE_S:.0f} s: look for another program that holds "
                "its cores"
            ) from error
        except RayActorError as error:
            raise MeasureError(
                "the compiled student crashed the process that ran it (an instruction this processor lacks, or "
                "too little memory): check the profile with `understudy doctor`"
            ) from error


def start_device(plan: Plan) -> RemoteDevice:
    """The owner, on the machine of the driver, restarted whenever it dies."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    owner = ray.remote(_Owner).options(num_cpus=0, max_restarts=-1, scheduling_strategy=here).remote(plan)
    return RemoteDevice(owner)
