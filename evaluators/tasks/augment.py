"""Augmented views of a picture that are the same at every resolution.

A view is one affine map (flip, shift, rotation, scale) in relative coordinates whose parameters depend on
(seed, view, sample) alone, so teacher and student see the same picture whatever size each takes, and the
teacher's answers can be computed once a view and kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from understudy import ConfigError, unknown_name

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = 0xFFFFFFFFFFFFFFFF


@dataclass(frozen=True)
class Augment:
    """How far a view may be from the clean picture.

    ``flip``: mirror left and right in half of the views; ``shift``: largest shift each way, as a share of
    the side; ``rotate``: largest rotation each way, degrees; ``scale``: largest relative zoom each way;
    ``border``: what lies beyond the edge, the mirrored picture (``reflection``) or black (``zeros``).
    """

    flip: bool = False
    shift: float = 0.0
    rotate: float = 0.0
    scale: float = 0.0
    border: Literal["reflection", "zeros"] = "reflection"

    def __post_init__(self) -> None:
        if not (0 <= self.shift < 1 and 0 <= self.rotate <= 180 and 0 <= self.scale < 1):
            raise ConfigError(
                f"an augmentation needs shift and scale in 0..1 and rotate in 0..180 degrees, but got {self}"
            )

    @property
    def clean(self) -> bool:
        """Whether every view is the clean picture."""
        return not (self.flip or self.shift or self.rotate or self.scale)

    def matrices(self, ids: NDArray[np.int64], view: int, seed: int) -> Tensor:
        """Maps from output to input coordinates in -1..1, (N, 2, 3) float32; the identity for view 0."""
        draws = 2 * uniform(seed, view, ids, 5) - 1
        live = 0.0 if view == 0 else 1.0
        zoom = 1 / (1 + live * self.scale * draws[:, 0])
        angle = live * math.radians(self.rotate) * draws[:, 1]
        mirror = np.where((draws[:, 2] < 0) & self.flip & (view != 0), -1.0, 1.0)
        cos, sin = zoom * np.cos(angle), zoom * np.sin(angle)
        shift = 2 * live * self.shift * draws[:, 3:]
        rows = [mirror * cos, -mirror * sin, shift[:, 0], sin, cos, shift[:, 1]]
        return torch.from_numpy(np.stack(rows, axis=1).astype(np.float32).reshape(-1, 2, 3))

    def apply(
        self, images: Tensor, ids: NDArray[np.int64], view: int, seed: int, mode: str = "bilinear"
    ) -> Tensor:
        """The view of a float batch (N, C, R, R), ``bilinear`` or of ``nearest`` pixels; view 0 is the batch."""
        if view == 0 or self.clean:
            return images
        grid = _grid(self.matrices(ids, view, seed), images.shape[-1])
        return functional.grid_sample(images, grid, mode, self.border, align_corners=False)


POLICIES = {
    "none": Augment(),
    "shift": Augment(shift=1 / 8, rotate=10.0, scale=0.1),
    "standard": Augment(flip=True, shift=1 / 8, scale=0.1),
}
"""Named policies: ``shift`` suits characters and other pictures that must not be mirrored."""


def augment_policy(name: str) -> Augment:
    """The policy of that name; raises ``ConfigError`` for an unknown one."""
    if name not in POLICIES:
        raise ConfigError(unknown_name("augmentation", name, POLICIES))
    return POLICIES[name]


def uniform(seed: int, view: int, ids: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """``count`` draws in 0..1 for each sample, (N, count), a pure function of (seed, view, id).

    Counter-based (the finaliser of SplitMix64: Steele, Lea and Flood, OOPSLA 2014), so that a draw does
    not depend on the batch a sample happens to be in.
    """
    stream = _scramble(np.array([(seed * _GOLDEN + view) & _MASK], dtype=np.uint64))
    sample = _scramble(stream + ids.astype(np.uint64) * np.uint64(_GOLDEN))
    steps = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(_GOLDEN)
    bits = _scramble(sample[:, None] + steps) >> np.uint64(11)
    return bits.astype(np.float64) / 2.0**53


def _grid(matrices: Tensor, resolution: int) -> Tensor:
    """``affine_grid`` of squares, (N, R, R, 2): as a sum of its two axes, 20 times as fast as torch's product."""
    centres = (2 * torch.arange(resolution) + 1) / resolution - 1
    columns = (matrices[:, :, 0, None] * centres).transpose(1, 2)[:, None, :, :]
    rows = (matrices[:, :, 1, None] * centres + matrices[:, :, 2, None]).transpose(1, 2)[:, :, None, :]
    return columns + rows


def _scramble(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
