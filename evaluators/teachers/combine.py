"""Several teachers' answers made one, as pure functions of their logits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor

from evaluators.tasks.task import UNLABELLED
from evaluators.teachers.named import COMBINED

Combine = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""From logits (teachers, N, classes), weights (teachers,) and classes (N,), if known, to logits (N, classes)."""


def by_mean(logits: Tensor, weights: Tensor, targets: Tensor | None = None) -> Tensor:
    """The logarithm of the weighted mean of the teachers' probabilities."""
    return _mixed(logits, weights[:, None].expand(logits.shape[:2]))


def by_agreement(logits: Tensor, weights: Tensor, targets: Tensor | None = None) -> Tensor:
    """As ``by_mean``, but each sample trusts those teachers more whose answers fit its class (Zhang et al., 2022).

    The confidence of teacher k is that of CA-MKD, ``(1 - softmax_k(cross entropy)) / (teachers - 1)``, times its
    weight. Where the classes are not known, what the weighted mean answers takes their place.
    """
    wanted = by_mean(logits, weights).argmax(1)
    if targets is not None:
        wanted = torch.where(targets == UNLABELLED, wanted, targets)
    entropies = -logits.log_softmax(2).gather(2, wanted.expand(len(logits), -1)[:, :, None])[:, :, 0]
    confidence = (1 - entropies.softmax(0)) / max(1, len(logits) - 1)
    return _mixed(logits, weights[:, None] * confidence.clamp_min(1e-6))


def _mixed(logits: Tensor, weights: Tensor) -> Tensor:
    """``log sum_k w_k softmax(logits_k)`` with weights (teachers, N) brought to a sum of 1 a sample."""
    shares = (weights / weights.sum(0)).log()[:, :, None]
    return (logits.log_softmax(2) + shares).logsumexp(0)


RULES: Mapping[str, Combine] = MappingProxyType(dict(zip(COMBINED, (by_mean, by_agreement), strict=True)))


def combined(rule: str, logits: Sequence[Tensor], weights: Sequence[float], targets: Tensor | None) -> Tensor:
    """The answer of several teachers to N samples under a rule of ``RULES``; logits each (N, classes)."""
    return RULES[rule](torch.stack(list(logits)), torch.tensor(weights, dtype=torch.float32), targets)
