"""From random codes to images."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

CODE = 64
LARGEST_START = 8


class Generator(nn.Module):
    """Codes (N, ``CODE``) and classes (N,) to images (N, channels, R, R) in 0..1, R a multiple of 4.

    It grows them by bilinear upsampling, so that they begin smooth, from a quarter of the side or, where that is
    large and can be halved, from less.
    """

    def __init__(self, channels: int, size: int, classes: int, width: int = 32) -> None:
        super().__init__()
        side, doublings = size // 4, 2
        while side > LARGEST_START and side % 2 == 0:
            side, doublings = side // 2, doublings + 1
        self.start = (2 * width, side, side)
        self.label = nn.Embedding(classes, CODE)
        self.enter = nn.Linear(2 * CODE, 2 * width * side**2)
        widths = [2 * width, *[width] * (doublings - 1), width // 2]
        grown = [module for pair in pairwise(widths) for module in _grown(*pair)]
        self.body = nn.Sequential(
            nn.BatchNorm2d(2 * width),
            nn.LeakyReLU(0.2),
            *grown,
            nn.Conv2d(widths[-1], channels, 3, padding=1),
            nn.Sigmoid(),
        )

    def forward(self, codes: Tensor, classes: Tensor) -> Tensor:
        """Images of a batch of codes, wanted in these classes."""
        entered = self.enter(torch.cat([codes, self.label(classes)], dim=1))
        images: Tensor = self.body(entered.unflatten(1, self.start))
        return images


def _grown(before: int, after: int) -> list[nn.Module]:
    upsample = nn.Upsample(scale_factor=2, mode="bilinear")
    return [
        upsample,
        nn.Conv2d(before, after, 3, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.LeakyReLU(0.2),
    ]


def codes(count: int, draws: torch.Generator) -> Tensor:
    """Normally distributed codes, (count, ``CODE``)."""
    return torch.randn(count, CODE, generator=draws)
