"""The score of a sub-network with inherited weights."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from evaluators.distill.evaluate import Guard, batches, predict_logits
from spaces.batch import single

if TYPE_CHECKING:
    from evaluators.tasks.task import Task

RECALIBRATION_IMAGES = 512
"""Training images from which batch norms learn their statistics: enough to tell sub-networks apart."""


def inherited_logits(
    network: nn.Module, task: Task, resolution: int, *, device: str = "cpu", guard: Guard = nullcontext
) -> Tensor:
    """What a sub-network answers on the validation split once its batch norms are its own: (N, classes).

    The network is left in evaluation mode on the CPU, with those statistics; ``guard`` is entered around each
    batch.
    """
    network.to(device)
    recalibrate(network, task, resolution, device=device, guard=guard)
    logits = predict_logits(network, task, "val", resolution, device=device, guard=guard)
    network.cpu()
    return logits


def recalibrate(
    network: nn.Module, task: Task, resolution: int, *, device: str = "cpu", guard: Guard = nullcontext
) -> None:
    """Take the statistics of a network's batch norms anew, as means over clean training images.

    Sub-networks of a supernet share the weights of their norms and have statistics of their own (Yu and Huang,
    2019). The network is left in evaluation mode.
    """
    network.eval()
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return
    kept = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a mean of all batches, each alike
        norm.train()
    chosen = np.random.default_rng(0).permutation(task.size("train"))[:RECALIBRATION_IMAGES]
    with torch.no_grad():
        for ids in batches(chosen, 128):
            with guard():
                network(single(task.batch("train", ids, resolution)).to(device))
    for norm, momentum in zip(norms, kept, strict=True):
        norm.momentum = momentum
        norm.eval()
