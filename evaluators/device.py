"""The seam to whatever runs a compiled student: this computer here, or an actor that owns it."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from results.measurement import Measurement


class Device(Protocol):
    """Runs a compiled student and says how long it took."""

    def run(self, library: Path, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """The outputs for a batch of the compiled shape; raises ``MeasureError`` when it cannot be run."""
        ...

    def measure(self, library: Path, inputs: NDArray[np.float32]) -> Measurement:
        """The latency of one inference, in seconds; raises ``MeasureError`` when it cannot be timed."""
        ...
