"""What a student makes of pictures before it names them: the input of its classifier."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from evaluators.distill.evaluate import Guard, batches
from evaluators.tasks.image_task import ImageTask
from evaluators.tasks.task import Split


def embeddings(
    network: nn.Module,
    task: ImageTask,
    split: Split,
    ids: ArrayLike,
    resolution: int,
    guard: Guard = nullcontext,
) -> NDArray[np.float32]:
    """Penultimate features of clean images by number, float32 (N, D); logits of a network without a linear layer.

    ``guard`` is entered around each batch.
    """
    kept: list[Tensor] = []

    def keep(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        kept[:] = [inputs[0].flatten(1)]

    linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
    hook = linear[-1].register_forward_pre_hook(keep) if linear else None
    parts = []
    try:
        with torch.inference_mode():
            for part in batches(np.asarray(ids, np.int64), 256):
                with guard():
                    logits = network.eval()(task.batch(split, part, resolution))
                    parts.append((kept[0] if hook else logits).float().numpy().copy())
    finally:
        if hook is not None:
            hook.remove()
    return np.concatenate(parts)
