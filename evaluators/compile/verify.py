"""Is the compiled student the network it was compiled from?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from understudy import CompileError

Array = NDArray[Any]
TOLERANCE = 1e-3
"""Largest difference allowed, as a share of the largest output. Float32 networks come within 1e-5."""
ROUNDING = 0.1
"""The same for networks of 8-bit integers: a value that two computations round to two sides of a half moves all
that comes of it, about as far as quantising itself does. An error of the compiler moves it by the whole output."""


def verify(network: nn.Module, compiled_run: Callable[[Array], Any], inputs: Tensor, batch: int = 1) -> float:
    """The largest difference between network and compiled student, as a share of the largest output.

    ``inputs`` are real ones, (M, C, H, W) with M a multiple of ``batch``, the one the student was compiled
    for. Raises ``CompileError`` when the network's outputs are not finite, the shapes differ, or the difference
    is over ``TOLERANCE``.
    """
    expected = expected_outputs(network, inputs)
    pieces = np.split(inputs.detach().cpu().numpy(), len(inputs) // batch)
    return compare(expected, np.concatenate([compiled_run(piece) for piece in pieces]))


def expected_outputs(network: nn.Module, *inputs: Tensor) -> Any:
    """What torch gives for the inputs in evaluation mode: an array, or a tuple of all the tensors in its answer.

    Raises ``CompileError`` when they are not finite.
    """
    training = network.training
    network.eval()
    try:
        with torch.no_grad():
            answer = network(*inputs)
    finally:
        network.train(training)
    outputs = tuple(leaf.detach().cpu().numpy() for leaf in tree_leaves(answer) if isinstance(leaf, Tensor))
    if not all(np.isfinite(output).all() for output in outputs):
        raise CompileError("the network itself gives NaN or infinity on real inputs: it cannot be deployed")
    return outputs[0] if len(outputs) == 1 else outputs


def compare(expected: Any, compiled: Any, tolerance: float = TOLERANCE) -> float:
    """The largest difference as a share of the largest expected output; of several outputs, the worst.

    Raises ``CompileError`` when the shapes differ, or the difference is over ``tolerance``.
    """
    if isinstance(expected, tuple) and isinstance(compiled, tuple) and len(expected) == len(compiled):
        pairs = zip(expected, compiled, strict=True)
        return max((_difference(*pair, tolerance) for pair in pairs), default=0.0)
    return _difference(np.asarray(expected), np.asarray(compiled), tolerance)


def _difference(expected: Array, compiled: Array, tolerance: float) -> float:
    if expected.shape != compiled.shape:
        raise CompileError(f"the compiled student gives {compiled.shape}, but the network gives {expected.shape}")
    wide = expected.astype(np.float64)
    scale = float(np.abs(wide).max(initial=0)) or 1.0
    difference = float(np.abs(wide - compiled).max(initial=0)) / scale
    if not difference <= tolerance:
        raise CompileError(
            f"the compiled student differs from the network by {difference:.3g} of its largest output, "
            f"over the tolerance of {tolerance:g}: the compiler is at fault, please report this network"
        )
    return difference
