"""When a student learns in floats and when with simulated integers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from evaluators.distill.evaluate import Guard
from evaluators.distill.steps import EpochFigures
from evaluators.quantise.prepare import grids, quantised_layers
from spaces.batch import single
from understudy import ConfigError

if TYPE_CHECKING:
    from evaluators.tasks.task import Task

QUANTISED_SHARE = 0.25
"""Of the epochs, the last, with simulated integers: while the learning rate falls to zero and images are clean."""
WATCHED_BATCHES, WATCHED_IMAGES = 8, 32
"""Training images that the ranges are calibrated on."""


def float_epochs(epochs: int) -> int:
    """How many of a training's epochs are in floats; raises ``ConfigError`` for fewer than 2 in all."""
    if epochs < 2:
        raise ConfigError(
            f"a quantised student learns in floats first and in integers then, but gets {epochs} epoch: "
            "give it 2 or more (--epochs, --final-epochs)"
        )
    return epochs - max(1, round(epochs * QUANTISED_SHARE))


def phases(
    network: nn.Module, task: Task, resolution: int, epochs: int, guard: Guard
) -> Callable[[EpochFigures], None] | None:
    """What ``train_student`` is to call after each epoch of a prepared network; None for any other.

    The network computes in floats until then. Raises ``ConfigError`` for a training that is too short.
    """
    if not quantised_layers(network):
        return None
    last = float_epochs(epochs)
    set_simulating(network, False)
    for grid in grids(network):  # the optimiser wants all that it will ever move in its first step
        grid.log_scale.grad = torch.zeros_like(grid.log_scale)

    def after(figures: EpochFigures) -> None:
        if figures.epoch == last:
            with guard():
                calibrate(network, training_batches(task, resolution))

    return after


def training_batches(task: Task, resolution: int) -> list[Tensor]:
    """Clean training images spread over the split, (n, C, R, R) each."""
    samples = len(task.targets("train"))
    chosen = np.linspace(0, samples - 1, min(samples, WATCHED_BATCHES * WATCHED_IMAGES)).astype(np.int64)
    parts = np.array_split(np.random.default_rng(0).permutation(chosen), min(WATCHED_BATCHES, len(chosen)))
    return [single(task.batch("train", np.sort(ids), resolution)) for ids in parts]


def calibrate(network: nn.Module, batches: list[Tensor]) -> None:
    """Take the ranges of all activations from some batches, and simulate integers from now on."""
    if next(grids(network), None) is None:  # weights alone are rounded
        set_simulating(network, True)
        return
    device = next(network.parameters()).device
    training = network.training
    set_simulating(network, False)
    for grid in grids(network):
        grid.watch()
    network.eval()
    with torch.no_grad():
        for images in batches:
            network(images.to(device))
    network.train(training)
    set_simulating(network, True)


def set_simulating(network: nn.Module, simulating: bool) -> None:
    """Compute with rounded weights and activations from now on, or in floats."""
    for layer in quantised_layers(network).values():
        layer.simulating = simulating
    for grid in grids(network):
        if simulating:
            grid.simulate()
        else:
            grid.mode = "off"
