"""The processes that train one supernet together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, distributed


@dataclass(frozen=True)
class Crew:
    """One of ``size`` workers that each take a share of every batch and then agree on the gradients."""

    rank: int = 0
    size: int = 1

    def share(self, ids: np.ndarray) -> np.ndarray:
        """This worker's samples of a batch."""
        return ids[self.rank :: self.size]

    def average(self, gradients: Sequence[Tensor]) -> None:
        """Make each gradient the mean over the workers, in place; all must call it with the same shapes.

        Raises ``RuntimeError`` when one of the others is gone.
        """
        if self.size == 1:
            return
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients]).cpu()  # gloo's way, also with a GPU
        distributed.all_reduce(flat)
        flat /= self.size
        means = torch.split(flat, [each.numel() for each in gradients])
        for gradient, mean in zip(gradients, means, strict=True):
            gradient.copy_(mean.view_as(gradient))


def join(rank: int, size: int, meeting: Path) -> Crew:
    """Meet the others through the file ``meeting``, which all must see and which must be new."""
    if size > 1:
        distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=size)
    return Crew(rank, size)


def leave(crew: Crew) -> None:
    """End the process group of ``join``."""
    if crew.size > 1:
        distributed.destroy_process_group()
