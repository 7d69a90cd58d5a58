"""The architecture of the built-in teacher: a residual network sized for small images."""

from __future__ import annotations

import itertools

from torch import Tensor, nn

WIDTH = 32
"""Channels of the first stage; each of the four stages has twice as many as the one before."""
LARGEST = 32
"""The first stage sees at most this many pixels a side; the stem halves larger images until they fit."""


class ResidualNet(nn.Module):
    """Pre-activation residual network (He et al., 2016), one block a stage, 1.2 million parameters at ``WIDTH``.

    Maps float32 images (N, channels, R, R) of any size R >= 8 to logits (N, classes). ``width`` is the
    channels of the first stage; parameters grow with its square.
    """

    def __init__(self, channels: int, classes: int, image_size: int, width: int = WIDTH) -> None:
        super().__init__()
        widths = [width * 2**stage for stage in range(4)]
        stem = [nn.Conv2d(channels, widths[0], 3, padding=1, bias=False)]
        while image_size > LARGEST:
            stem += [nn.Conv2d(widths[0], widths[0], 3, 2, padding=1, bias=False)]
            image_size //= 2
        self.stem = nn.Sequential(*stem)
        blocks = [Block(widths[0], widths[0], 1)]
        blocks += [Block(before, after, 2) for before, after in itertools.pairwise(widths)]
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Sequential(
            nn.BatchNorm2d(widths[-1]),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(widths[-1], classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Logits of a batch."""
        out: Tensor = self.head(self.blocks(self.stem(images)))
        return out


class Block(nn.Module):
    """Two 3x3 convolutions beside a way around them: (N, before, H, W) -> (N, after, H / stride, W / stride)."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.BatchNorm2d(before), nn.ReLU())
        self.branch = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
        )
        same = before == after and stride == 1
        self.skip = nn.Identity() if same else nn.Conv2d(before, after, 1, stride, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        entered = self.enter(features)
        out: Tensor = self.skip(entered) + self.branch(entered)
        return out
