"""What a network takes: one tensor, or several that belong together (a picture and the question on it)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Batch = Tensor | tuple[Tensor, ...]
"""Samples, batch first; where they have several parts, a tensor of each, all of one length."""


def parts(batch: Batch) -> tuple[Tensor, ...]:
    """The tensors of a batch, in the order in which a network takes them: ``network(*parts(batch))``."""
    return batch if isinstance(batch, tuple) else (batch,)


def mapped(change: Callable[[Tensor], Tensor], batch: Batch) -> Batch:
    """The batch with each of its tensors changed."""
    return tuple(map(change, batch)) if isinstance(batch, tuple) else change(batch)


def moved(batch: Batch, device: object) -> Batch:
    """The batch on a device."""
    return mapped(lambda part: part.to(device), batch)  # type: ignore[call-overload]


def twice(part: Tensor) -> Tensor:
    """The first sample, two times."""
    return torch.cat([part[:1]] * 2)


def single(batch: Batch) -> Tensor:
    """The one tensor of a batch; raises ``TypeError`` where samples have several parts."""
    if isinstance(batch, tuple):
        raise TypeError(f"samples have {len(batch)} parts here, where only those of one can be used")
    return batch


def sliced(batch: Batch, begin: int, end: int) -> Batch:
    """Some of its samples."""
    return mapped(lambda part: part[begin:end], batch)
