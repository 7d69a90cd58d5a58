"""From random codes to images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

CODE = 64


class Generator(nn.Module):
    """Codes (N, ``CODE``) and classes (N,) to images (N, channels, R, R) in 0..1, R a multiple of 4.

    It grows them from a quarter of the side by bilinear upsampling, so that they begin smooth.
    """

    def __init__(self, channels: int, size: int, classes: int, width: int = 32) -> None:
        super().__init__()
        self.start = (2 * width, size // 4, size // 4)
        self.label = nn.Embedding(classes, CODE)
        self.enter = nn.Linear(2 * CODE, 2 * width * (size // 4) ** 2)
        self.body = nn.Sequential(
            nn.BatchNorm2d(2 * width),
            nn.LeakyReLU(0.2),
            *_grown(2 * width, width),
            *_grown(width, width // 2),
            nn.Conv2d(width // 2, channels, 3, padding=1),
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
