"""Is the compiled student the network it was compiled from?"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from understudy import CompileError

Array = NDArray[np.float32]
TOLERANCE = 1e-3
"""Largest difference allowed, as a share of the largest output. Float32 networks come within 1e-5."""


def verify(network: nn.Module, compiled_run: Callable[[Array], Array], inputs: Tensor, batch: int = 1) -> float:
    """The largest difference between network and compiled student, as a share of the largest output.

    ``inputs`` are real ones, (M, C, H, W) with M a multiple of ``batch``, the one the student was compiled
    for. Raises ``CompileError`` when the network's outputs are not finite, the shapes differ, or the difference
    is over ``TOLERANCE``.
    """
    expected = expected_outputs(network, inputs)
    pieces = np.split(inputs.detach().cpu().numpy(), len(inputs) // batch)
    return compare(expected, np.concatenate([compiled_run(piece) for piece in pieces]))


def expected_outputs(network: nn.Module, inputs: Tensor) -> Array:
    """What torch gives for ``inputs`` (M, C, H, W): the outputs (M, classes), float32, in evaluation mode.

    Raises ``CompileError`` when they are not finite.
    """
    training = network.training
    network.eval()
    try:
        with torch.no_grad():
            expected: Array = network(inputs).detach().cpu().numpy()
    finally:
        network.train(training)
    if not np.isfinite(expected).all():
        raise CompileError("the network itself gives NaN or infinity on real inputs: it cannot be deployed")
    return expected


def compare(expected: Array, compiled: Array) -> float:
    """The largest difference as a share of the largest expected output.

    Raises ``CompileError`` when the shapes differ, or the difference is over ``TOLERANCE``.
    """
    if expected.shape != compiled.shape:
        raise CompileError(f"the compiled student gives {compiled.shape}, but the network gives {expected.shape}")
    scale = float(np.abs(expected).max()) or 1.0
    difference = float(np.abs(expected - compiled).max()) / scale
    if not difference <= TOLERANCE:
        raise CompileError(
            f"the compiled student differs from the network by {difference:.3g} of its largest output, "
            f"over the tolerance of {TOLERANCE:g}: the compiler is at fault, please report this network"
        )
    return difference
