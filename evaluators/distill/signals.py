"""What a network says about a batch: its logits and the outputs of chosen layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from spaces.batch import Batch


@dataclass(frozen=True)
class Signals:
    """One network's view of one batch.

    ``logits`` is (B, classes), unscaled; ``features`` maps the names of layers (as in ``named_modules``) to
    their outputs, batch first. ``images`` is what the network was given, such as (B, C, R, R) normalised; None for
    a teacher whose stored outputs are read. ``ids`` are the numbers of the training samples, int64 (B,) on the
    CPU, and ``progress`` the share of the training that is done, 0 to 1: both are of the student's signals alone.
    ``sides`` are the places a side of the maps that the logits are of, where each place is a sample.
    """

    logits: Tensor
    features: Mapping[str, Tensor] = field(default_factory=dict)
    images: Batch | None = None
    ids: Tensor | None = None
    progress: float = 1.0
    sides: tuple[int, ...] = ()

    @staticmethod
    def none() -> Signals:
        """The signals of no network: what a distiller that uses no teacher is handed for one."""
        return Signals(torch.empty(0))
