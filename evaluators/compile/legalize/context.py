"""What legalizers are told, and what several of them do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import relax

from evaluators.compile.choices import Chooser
from evaluators.compile.tiles import padded
from hw_profiles.profile import Profile

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Context:
    """The target, and who chooses among the ways to build a kernel."""

    profile: Profile
    choose: Chooser


Legalizer = Callable[[relax.BlockBuilder, relax.Call, Context], relax.Expr | None]


def pack(weight: Array, tile: int) -> Array:
    """Weights (..., I, O) as (ceil(O / tile), ..., I, tile), padded with zeros."""
    full = pad_channels(weight, tile)
    split = full.reshape(*full.shape[:-1], -1, tile)
    return np.ascontiguousarray(np.moveaxis(split, -2, 0))


def pad_channels(weight: Array, multiple: int) -> Array:
    """The last axis filled up with zeros to a multiple."""
    missing = padded(weight.shape[-1], multiple) - weight.shape[-1]
    return np.pad(weight, [(0, 0)] * (weight.ndim - 1) + [(0, missing)])


def whole(values: Any) -> tuple[int, ...]:
    """Sizes of TVM as Python's."""
    return tuple(int(value) for value in values)
