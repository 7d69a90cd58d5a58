"""From random codes to images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

CODE = 128


class Generator(nn.Module):
    """Codes (N, ``CODE``) to images (N, channels, R, R) in 0..1, R a multiple of 4 (CMI; Fang et al., 2021)."""

    def __init__(self, channels: int, size: int, width: int = 64) -> None:
        super().__init__()
        self.start = (2 * width, size // 4, size // 4)
        self.enter = nn.Linear(CODE, 2 * width * (size // 4) ** 2)
        self.body = nn.Sequential(
            nn.BatchNorm2d(2 * width),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.LeakyReLU(0.2),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(2 * width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, channels, 3, padding=1),
            nn.Sigmoid(),
        )

    def forward(self, codes: Tensor) -> Tensor:
        """Images of a batch of codes."""
        images: Tensor = self.body(self.enter(codes).unflatten(1, self.start))
        return images


class Rival(nn.Sequential):
    """A small student that learns alongside: where it disagrees with the teacher, images are worth most."""

    def __init__(self, channels: int, classes: int, width: int = 24) -> None:
        super().__init__(
            *_layer(channels, width, 2),
            *_layer(width, 2 * width, 2),
            *_layer(2 * width, 2 * width, 1),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(2 * width, classes),
        )


def _layer(before: int, after: int, stride: int) -> list[nn.Module]:
    return [nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]


def codes(count: int, generator: torch.Generator) -> Tensor:
    """Normally distributed codes, (count, ``CODE``)."""
    return torch.randn(count, CODE, generator=generator)
