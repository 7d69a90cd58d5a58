"""Layers over maps of several sizes: bidirectional feature pyramids and convolutions that all sizes share.

Both are EfficientDet's (Tan et al., 2020, arXiv:1911.09070).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from spaces.blocks import Size, activation, conv_norm
from spaces.nni_adapter import MutableBatchNorm2d, MutableConv2d
from spaces.segment import separable
from spaces.staged import ACTIVATION

_LEAST = 1e-4
"""Keeps the sum of a fusion's weights above 0."""


class Fusion(nn.Module):
    """Maps of one size added up by learnt shares (fast normalised fusion): as many (N, C, H, W) -> (N, C, H, W).

    The shares of the latest step are kept, as a batch norm keeps its statistics: outside of training they are
    constants, to every exporter and compiler.
    """

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.ones(inputs))
        self.inputs = inputs
        for number in range(inputs):
            self.register_buffer(f"share_{number}", torch.full((), 1 / inputs))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        kept = [self.get_buffer(f"share_{number}") for number in range(self.inputs)]
        shares = kept
        if self.training:
            positive = functional.relu(self.weights)
            shares = list((positive / (positive.sum() + _LEAST)).unbind())
            for held, share in zip(kept, shares, strict=True):
                held.copy_(share.detach())
        first, *others = (share * each for share, each in zip(shares, maps, strict=True))
        return sum(others, first)


class Node(nn.Module):
    """Maps of one size, fused and convolved: as many (N, C, H, W) -> (N, C, H, W)."""

    def __init__(self, width: Size, inputs: int) -> None:
        super().__init__()
        self.fuse = Fusion(inputs)
        self.refine = separable(width)

    def forward(self, *maps: Tensor) -> Tensor:
        refined: Tensor = self.refine(self.fuse(maps))
        return refined


class BiFpn(nn.Module):
    """From the coarsest of several maps to the finest and back: (N, width, H_i, W_i), finest first -> the same.

    Maps grow by taking the nearest place and shrink by the maximum of 3 x 3 places.
    """

    def __init__(self, width: Size, levels: int) -> None:
        super().__init__()
        self.down = nn.ModuleList(Node(width, 2) for _ in range(levels - 1))
        self.up = nn.ModuleList(Node(width, 2 if level == levels - 1 else 3) for level in range(1, levels))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        passed = [maps[-1]]
        for node, fine in zip(self.down, reversed(maps[:-1]), strict=True):
            grown = functional.interpolate(passed[0], fine.shape[-2:], mode="nearest")
            passed.insert(0, node(fine, grown))
        done = [passed[0]]
        for node, given, half in zip(self.up, maps[1:], passed[1:], strict=True):
            beside = [given] if half is given else [given, half]
            done.append(node(*beside, shrunk(done[-1])))
        return done


class Shared(nn.Module):
    """A separable layer over maps of several sizes, with norms of their own: (N, width, H_i, W_i) -> the same."""

    def __init__(self, width: Size, levels: int) -> None:
        super().__init__()
        self.depthwise = MutableConv2d(width, width, 3, padding=1, groups=width)
        self.project = MutableConv2d(width, width, 1, bias=False)
        self.norms = nn.ModuleList(MutableBatchNorm2d(width) for _ in range(levels))
        self.act = activation(ACTIVATION)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        mixed = (self.project(self.depthwise(each)) for each in maps)
        return [self.act(norm(each)) for norm, each in zip(self.norms, mixed, strict=True)]


class Laterals(nn.Module):
    """An encoder's maps, one for each of ``widths``, as ``levels`` maps of one width; what lacks are halves.

    (N, widths[i], H_i, W_i) -> (N, width, H_i, W_i), finest first.
    """

    def __init__(self, widths: Sequence[Size], width: Size, levels: int) -> None:
        super().__init__()
        self.bring = nn.ModuleList(conv_norm(each, width, 1) for each in widths)
        self.levels = levels

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        brought = [bring(each) for bring, each in zip(self.bring, maps, strict=True)]
        while len(brought) < self.levels:
            brought.append(shrunk(brought[-1]))
        return brought


def shrunk(features: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C, H / 2, W / 2), rounded up: the maximum around every second place."""
    return functional.max_pool2d(features, 3, 2, 1)
