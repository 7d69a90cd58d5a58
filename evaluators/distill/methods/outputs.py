"""What methods of outputs share: divergences of logits, and the ranges of settings."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from evaluators.distill.signals import Signals
from understudy import ConfigError


def softened_divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """``T^2 * KL(teacher_T || student_T)``, the mean over the batch, of logits (B, classes).

    The square keeps the gradient's size at any temperature (Hinton, Vinyals and Dean, 2015).
    """
    ours = functional.log_softmax(student / temperature, dim=1)
    wanted = functional.log_softmax(teacher / temperature, dim=1)
    return functional.kl_div(ours, wanted, reduction="batchmean", log_target=True) * temperature**2


def standardised(logits: Tensor) -> Tensor:
    """Each sample's logits, (B, classes), at mean 0 and standard deviation 1 (Sun et al., 2024).

    Equal logits come out as zeros, with finite gradients.
    """
    return functional.layer_norm(logits, logits.shape[1:])


def task_loss(student: Signals, targets: Tensor | None) -> Tensor:
    """The cross entropy against the labels, zero where there are none."""
    if targets is None:
        return student.logits.new_zeros(())
    return functional.cross_entropy(student.logits, targets)


def check_temperature(temperature: float) -> None:
    """Raises ``ConfigError`` unless the temperature is above 0."""
    if not temperature > 0:
        raise ConfigError(f"the temperature must be above 0, but got {temperature}")


def check_share(name: str, value: float) -> None:
    """Raises ``ConfigError`` unless the setting is in 0..1."""
    if not 0 <= value <= 1:
        raise ConfigError(f"{name} must be in 0..1, but got {value}")


def check_weights(**weights: float) -> None:
    """Raises ``ConfigError`` unless every setting is a number of at least 0."""
    for name, value in weights.items():
        if not value >= 0:
            raise ConfigError(f"{name} must be at least 0, but got {value}")
