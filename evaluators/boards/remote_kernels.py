"""What a client times of a network's kernels on a board, in the child process that holds the session."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from evaluators.boards.reference import SHAPE
from evaluators.boards.remote import connected
from evaluators.boards.sampling import sample_in_turn
from evaluators.compile.kernel_times import Kernel, time_kernel
from results.bundle.runner import Array


def time_there(
    library: Path,
    inputs: tuple[Array, ...],
    reference: Path,
    kernels_library: Path,
    kernels: Sequence[Kernel],
    limit_s: float,
) -> tuple[float, list[float], float]:
    """Median seconds of a network and of kernels (which lie in a library of their own), timed on the board.

    The third figure is how much slower the reference was after them than before, as a share.
    """
    with connected() as held:
        student, other = held.student(library), held.student(reference)
        student.get_ready(inputs)
        other.get_ready((np.zeros(SHAPE, np.float32),))
        samples = sample_in_turn(student.seconds, other.seconds, limit_s)
        seconds = time_alone(kernels_library, kernels) if kernels else []
        after = sample_in_turn(other.seconds, other.seconds, limit_s / 4)
        drift = float(np.median(after.student) / np.median(samples.reference)) - 1
        return float(np.median(samples.student)), seconds, drift


def time_alone(library: Path, kernels: Sequence[Kernel]) -> list[float]:
    """Median seconds of a call of each kernel in a library of kernels, timed on the board."""
    with connected() as held:
        module, device = held.module(library), held.session.cpu()
        return [time_kernel(module, kernel, device) for kernel in kernels]
