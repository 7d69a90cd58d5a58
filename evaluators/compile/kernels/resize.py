"""Images resized, with lines and weights known when the kernel is made."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from tvm import te, tirx

from evaluators.compile.kernels.image import shape_of

Lines = NDArray[np.int32]
Weights = NDArray[np.float32]
NAME = "resized"


def nearest(data: te.Tensor, rows: te.Tensor, columns: te.Tensor) -> te.Tensor:
    """(N, H, W, C) and the row and column that each output line takes: (N, OH, OW, C)."""
    batch, _, _, channels = shape_of(data)
    shape = (batch, *shape_of(rows), *shape_of(columns), channels)
    return te.compute(shape, lambda n, y, x, c: data[n, rows[y], columns[x], c], name=NAME)


def weighted(
    data: te.Tensor, rows: te.Tensor, row_weights: te.Tensor, columns: te.Tensor, column_weights: te.Tensor
) -> te.Tensor:
    """(N, H, W, C) as weighted sums of T rows (T, OH) and T columns (T, OW): (N, OH, OW, C)."""
    batch, _, _, channels = shape_of(data)
    (taps, height), (_, width) = shape_of(rows), shape_of(columns)

    def weigh(n: tirx.Var, y: tirx.Var, x: tirx.Var, c: tirx.Var) -> tirx.PrimExpr:
        lines = [
            sum(data[n, rows[row, y], columns[tap, x], c] * column_weights[tap, x] for tap in range(taps))
            for row in range(taps)
        ]
        return sum(line * row_weights[row, y] for row, line in enumerate(lines))

    return te.compute((batch, height, width, channels), weigh, name=NAME)


def sources(extent: int, target: int, mode: str) -> NDArray[np.float64] | None:
    """Where each of ``target`` lines lies among ``extent`` lines, by the mode that ONNX names; or None."""
    line = np.arange(target, dtype=np.float64)
    scale = extent / target
    if mode == "align_corners":
        return line * ((extent - 1) / (target - 1)) if target > 1 else 0 * line
    if mode == "half_pixel" or (mode == "pytorch_half_pixel" and target > 1):
        return (line + 0.5) * scale - 0.5
    if mode == "pytorch_half_pixel":
        return 0 * line
    return line * scale if mode == "asymmetric" else None


def linear_taps(at: NDArray[np.float64], extent: int) -> tuple[Lines, Weights]:
    """The two lines around each place, within the image, and their weights: both (2, N)."""
    low = np.floor(at)
    lines = np.stack([low, low + 1]).clip(0, extent - 1).astype(np.int32)
    return lines, np.stack([1 - (at - low), at - low]).astype(np.float32)


def cubic_taps(at: NDArray[np.float64], extent: int, alpha: float) -> tuple[Lines, Weights]:
    """The four lines around each place and their weights, both (4, N), by Keys' cubic convolution (1981)."""
    low = np.floor(at)
    places = low + np.arange(-1, 3)[:, None]
    distance = np.abs(at - places)
    near = ((alpha + 2) * distance - (alpha + 3)) * distance**2 + 1
    far = alpha * (((distance - 5) * distance + 8) * distance - 4)
    weights = np.where(distance <= 1, near, far)
    return places.clip(0, extent - 1).astype(np.int32), weights.astype(np.float32)


def nearest_lines(at: NDArray[np.float64], extent: int) -> Lines:
    """The line at or below each place."""
    nudged = np.floor(at + 1e-9)  # a product that should be whole may come out just below
    lines: Lines = nudged.clip(0, extent - 1).astype(np.int32)
    return lines
