"""MobileNetV2 at several widths, as a user's space with one choice.

Sandler et al., 2018 (arXiv:1801.04381), with the first strides left out for images of 32 pixels.
"""

from __future__ import annotations

from nni.mutable import ensure_frozen
from nni.mutable.shortcut import choice
from nni.nas.nn.pytorch import ModelSpace
from torch import Tensor, nn

WIDTHS = [0.1, 0.2, 0.35, 0.5, 0.75]
"""Small ones: a student of the search has a fiftieth of the arithmetic of the whole network."""
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, channels, blocks and the first block's stride, as in the paper's table 2."""


class MobileNetV2(ModelSpace):  # type: ignore[misc]
    """(N, channels, R, R) -> logits (N, classes)."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.width = self.add_mutable(choice("width", WIDTHS))
        width = ensure_frozen(self.width)
        before = _channels(32, width)
        layers = [*_layer(channels, before, 3), nn.ReLU6()]
        for expansion, outputs, blocks, stride in STAGES:
            for index in range(blocks):
                after = _channels(outputs, width)
                layers.append(_Block(before, after, expansion, stride if index == 0 else 1))
                before = after
        last = _channels(1280, min(1.0, 2 * width))
        self.features = nn.Sequential(*layers, *_layer(before, last, 1), nn.ReLU6())
        self.head = nn.Linear(last, classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(images).mean((2, 3)))
        return logits


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        expand = [*_layer(inputs, hidden, 1), nn.ReLU6()] if expansion > 1 else []
        depthwise = [*_layer(hidden, hidden, 3, stride, hidden), nn.ReLU6()]
        self.layers = nn.Sequential(*expand, *depthwise, *_layer(hidden, outputs, 1))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, features: Tensor) -> Tensor:
        out: Tensor = self.layers(features)
        return features + out if self.residual else out


def _layer(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(outputs)]


def _channels(count: int, width: float) -> int:
    """So many channels at a width, in steps of 8, as the reference implementation rounds."""
    return max(8, int(count * width + 4) // 8 * 8)
