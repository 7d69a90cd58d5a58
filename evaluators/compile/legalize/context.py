"""What legalizers are told, and what several of them do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import relax

from evaluators.compile.choices import Chooser, KernelKey
from evaluators.compile.tiles import padded
from hw_profiles.profile import Profile

Array = NDArray[np.float32]
Size = tuple[int, int]
"""Of a constant matrix: inner, columns."""


@dataclass(frozen=True)
class Packing:
    """How matrices are packed that several kernels read: the columns of their ``panels``, by size.

    ``tables`` are those whose columns are also picked, as the embeddings of tokens.
    """

    panels: Mapping[Size, int] = field(default_factory=dict)
    tables: frozenset[Size] = frozenset()

    @classmethod
    def of(cls, key: KernelKey) -> Packing:
        """What a kernel's key says of the matrix that it reads."""
        facts = dict(key.facts)
        return cls({(facts["k"], facts["n"]): facts["panel"]} if "panel" in facts else {})


ALONE = Packing()
"""Where each matrix has one reader."""


@dataclass(frozen=True)
class Context:
    """The target, who chooses among the ways to build a kernel, and what is packed for several."""

    profile: Profile
    choose: Chooser
    packing: Packing = ALONE


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
