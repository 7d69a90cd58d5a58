"""What images made from a teacher are pulled towards, besides their classes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

COARSE = 4
"""Images of one class are to differ in their parts: the side, in pixels, of what is compared."""
JITTER = 2
"""Pixels that an image under inversion is shifted by at most."""


def variety(images: Tensor, classes: int) -> Tensor:
    """How images of one class differ: the log of their variance at 4 by 4 pixels, a scalar.

    Row i of ``images`` (N, C, R, R) is of class i modulo ``classes``, which N is a multiple of. Of the logarithm,
    so that a collapsed class counts much and no more is won by images that are extreme (of the family of
    mode-seeking terms; Mao et al., CVPR 2019).
    """
    coarse = functional.adaptive_avg_pool2d(images, COARSE).flatten(1)
    variance = coarse.reshape(-1, classes, coarse.shape[1]).var(0).sum(1)
    log: Tensor = (variance + 1e-3).log()
    return log.mean()


def roughness(images: Tensor) -> Tensor:
    """The mean squared difference of neighbouring pixels, a scalar."""
    down = (images[:, :, 1:] - images[:, :, :-1]).square().mean()
    return down + (images[..., 1:] - images[..., :-1]).square().mean()


def jittered(images: Tensor, draws: torch.Generator) -> Tensor:
    """Shifted by up to ``JITTER`` pixels, all alike, so that no pixel matters by its place; edges are repeated."""
    size = images.shape[-1]
    down, right = torch.randint(0, 2 * JITTER + 1, (2,), generator=draws).tolist()
    wide = functional.pad(images, (JITTER,) * 4, mode="replicate")
    return wide[:, :, down : down + size, right : right + size]
