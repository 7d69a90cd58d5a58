"""The seam to whatever runs a compiled student: this computer here, boards, or an actor that owns them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from evaluators.latency.race import Lap
from results.bundle.runner import MAIN, Inputs
from results.measurement import Measurement


class Device(Protocol):
    """Runs a compiled student and says how long it took; its inputs are one array or a tuple of them.

    Of a library with several ``program``s, the one of that name.
    """

    def run(self, library: Path, inputs: Inputs, program: str = MAIN) -> Any:
        """The output for inputs of the compiled shapes, or a tuple of outputs where there are several.

        Raises ``MeasureError`` when it cannot be run.
        """
        ...

    def measure(self, library: Path, inputs: Inputs, program: str = MAIN) -> Measurement:
        """The latency of one inference, in seconds; raises ``MeasureError`` when it cannot be timed."""
        ...

    def close(self) -> None:
        """Give back what is held; it is taken again when needed."""
        ...

    def race(self, libraries: Sequence[Path], inputs: Inputs) -> list[Lap]:
        """Several libraries that compute the same, timed in turn; raises ``MeasureError`` when one cannot run."""
        ...
