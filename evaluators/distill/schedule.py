"""How long and how fast a network learns."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from understudy import ConfigError

Optimiser = Literal["sgd", "adamw"]
"""SGD with Nesterov momentum, or Adam with decoupled weight decay (Loshchilov and Hutter, 2019, arXiv:1711.05101),
without which transformers hardly learn."""
_PACE: dict[Optimiser, tuple[float, float]] = {"sgd": (0.2, 5e-4), "adamw": (1e-3, 0.01)}
"""Learning rate and weight decay of students."""
MAX_VIEWS = 16
"""More views cost passes of the teacher and add little: they come round again in a long training."""
UNVARIED_EPOCHS = 12
"""A training no longer than this learns more from the clean images alone."""
MANY = 20_000
"""From this many images on, larger batches make enough steps, and cost less an image."""


@dataclass(frozen=True)
class Schedule:
    """A training's length and pace.

    The learning rate climbs linearly over ``warmup_epochs`` to ``learning_rate`` and falls to zero along half a
    cosine (SGDR without restarts; Loshchilov and Hutter, 2017). ``views`` is how many augmented views of the
    training images take turns, one an epoch, until the last ``clean_share`` of the epochs, which see the clean
    images as validation does; 0 views trains on the clean images throughout. ``validations`` is how often the
    student is scored on the validation split, evenly spread, the last time after the last epoch.

    Raises ``ConfigError`` for values outside their range.
    """

    epochs: int
    batch_size: int = 32
    learning_rate: float = 0.2
    weight_decay: float = 5e-4
    warmup_epochs: float = 1.0
    views: int = 8
    clean_share: float = 0.25
    validations: int = 4
    optimiser: Optimiser = "sgd"

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "learning_rate", "validations"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be above 0, but got {getattr(self, name)}")
        for name in ("weight_decay", "warmup_epochs", "views", "clean_share"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must not be below 0, but got {getattr(self, name)}")

    def rate(self, epoch: float) -> float:
        """The learning rate at a moment of the training, counted in epochs from 0.0 to ``epochs``."""
        warmup = min(self.warmup_epochs, self.epochs / 4)
        if epoch < warmup:
            return self.learning_rate * (epoch + 0.01) / (warmup + 0.01)
        done = (epoch - warmup) / (self.epochs - warmup)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))

    def view(self, epoch: int) -> int:
        """The view of the training images that an epoch (from 0) learns from: 1..views, or 0 for clean."""
        if not self.views or epoch >= self.epochs * (1 - self.clean_share):
            return 0
        return 1 + epoch % self.views

    def validates(self, epoch: int) -> bool:
        """Whether the student is scored on the validation split after this epoch (from 0)."""
        times = min(self.validations, self.epochs)
        return (epoch + 1) * times // self.epochs > epoch * times // self.epochs


SEARCH_IMAGES = 10_000
"""Images that a candidate's training sees where the data allow: enough to tell students apart."""
FINAL_IMAGES = 100_000
"""Images that a finalist's training sees where the data allow."""
PATIENT_IMAGES, PATIENT_EPOCHS = 200_000, 96
"""The same, and the most epochs, where the teacher answers views: what it says of ever new ones is learnt late."""


def search_schedule(
    samples: int, epochs: int | None = None, optimiser: Optimiser = "sgd", dense: bool = False
) -> Schedule:
    """The short training of a candidate on ``samples`` training images; ``epochs`` overrules the length.

    By default about ``SEARCH_IMAGES`` images are seen, in no fewer than 2 and no more than 12 epochs. Where
    answers are maps (``dense``) images are fewer and each teaches more: up to 40 epochs, in smaller batches.
    """
    longest = 40 if dense else 12
    length = min(longest, max(2, round(SEARCH_IMAGES / samples))) if epochs is None else epochs
    return _schedule(samples, length, optimiser, dense)


def final_schedule(
    samples: int,
    epochs: int | None = None,
    optimiser: Optimiser = "sgd",
    dense: bool = False,
    varied: bool = True,
) -> Schedule:
    """The full training of a finalist, as ``search_schedule``: ``FINAL_IMAGES`` images, 10 to 60 epochs (160).

    By SGD, where samples are ``varied`` and answers no maps, it is twice as long, and on views to the end: a
    patient student comes near its teacher (Beyer et al., 2022, arXiv:2106.05237), which says little more than
    labels do of images that it knows by heart.
    """
    patient = varied and optimiser == "sgd" and not dense
    longest = PATIENT_EPOCHS if patient else 160 if dense else 60
    seen = PATIENT_IMAGES if patient else FINAL_IMAGES
    length = min(longest, max(10, round(seen / samples))) if epochs is None else epochs
    schedule = _schedule(samples, length, optimiser, dense)
    return replace(schedule, clean_share=0.0) if patient else schedule


def _schedule(samples: int, epochs: int, optimiser: Optimiser, dense: bool) -> Schedule:
    views = 0 if epochs <= UNVARIED_EPOCHS else min(epochs, MAX_VIEWS)
    rate, decay = _PACE[optimiser]
    small = 8 if dense else 32
    return Schedule(epochs, small if samples < MANY else 128, rate, decay, views=views, optimiser=optimiser)
