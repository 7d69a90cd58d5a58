"""The architecture of the built-in teacher of segmentation: a residual encoder and a decoder of all its stages."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from evaluators.teachers.residual import Block
from spaces.scales import grid

WIDTH = 32
"""Channels of the first stage; each of the four stages has twice as many as the one before."""
_MERGED = 64


class SegmenterNet(nn.Module):
    """Pre-activation residual blocks (He et al., 2016), two a stage; a feature pyramid (Kirillov et al., 2019).

    Maps float32 images (N, channels, S, S), S = ``image_size``, to logits (N, classes, G, G), G =
    ``spaces.scales.grid(S)``.
    """

    def __init__(self, channels: int, classes: int, image_size: int, width: int = WIDTH) -> None:
        super().__init__()
        self.grid = grid(image_size)
        widths = [width * 2**stage for stage in range(4)]
        self.stem = nn.Conv2d(channels, width, 3, 2, padding=1, bias=False)
        befores = [width, *widths[:-1]]
        self.stages = nn.ModuleList(
            nn.Sequential(Block(before, after, 1 if before == after else 2), Block(after, after, 1))
            for before, after in zip(befores, widths, strict=True)
        )
        self.bring = nn.ModuleList(nn.Conv2d(each, _MERGED, 1) for each in widths)
        self.head = nn.Sequential(
            nn.BatchNorm2d(_MERGED),
            nn.ReLU(),
            nn.Conv2d(_MERGED, _MERGED, 3, padding=1, bias=False),
            nn.BatchNorm2d(_MERGED),
            nn.ReLU(),
            nn.Conv2d(_MERGED, classes, 1),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Logits of a batch."""
        features, levels = self.stem(images), list[Tensor]()
        for stage, bring in zip(self.stages, self.bring, strict=True):
            features = stage(features)
            levels.append(bring(features))
        size = [self.grid, self.grid]
        scaled = [functional.interpolate(level, size, mode="bilinear") for level in levels]
        logits: Tensor = self.head(torch.stack(scaled).sum(0))
        return logits
