"""The architecture of the built-in teacher of detection: a residual pyramid, and one head for all its maps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from evaluators.distill.schedule import MANY, Schedule
from evaluators.teachers.residual import Block
from spaces.scales import strides

WIDTH = 24
"""Channels of the stem; the stages have 2, 4, and from the third on 8 times as many."""
_MERGED = 64
_SHARED = 2
"""Convolutions of the head, the answers' own apart."""
_PICTURES = 9_000
_COARSEST = 16
"""The stride that the encoder reaches even where no box is looked for on maps as coarse."""


def detector_schedule(samples: int, epochs: int | None = None) -> Schedule:
    """The training of the teacher: 9,000 of ``samples`` pictures seen, in 8 to 80 epochs; ``epochs`` overrules.

    Its batches are small, since few pictures leave few steps, and it sees each picture varied to the end.
    """
    length = min(80, max(8, round(_PICTURES / samples))) if epochs is None else epochs
    return Schedule(length, 8 if samples < MANY else 64, 0.05, 5e-4, views=length, clean_share=0)


class DetectorNet(nn.Module):
    """Pre-activation residual blocks (He et al., 2016), two a stage; a feature pyramid (Lin et al., 2017,
    arXiv:1612.03144); a head that all maps share, norms apart.

    Maps float32 images (N, channels, S, S), S = ``image_size``, to logits (N, classes, P, 1), places as of
    ``spaces.scales.answer_shape``.
    """

    def __init__(self, channels: int, classes: int, image_size: int, width: int = WIDTH) -> None:
        super().__init__()
        asked = strides(image_size)
        reached = [4]
        while reached[-1] < max(_COARSEST, asked[-1]):
            reached.append(2 * reached[-1])
        self.skipped, self.levels = reached.index(asked[0]), len(asked)
        widths = [width * 2 ** min(stage, 3) for stage in range(1, len(reached) + 1)]
        self.stem = nn.Conv2d(channels, width, 3, 2, padding=1, bias=False)
        self.stages = nn.ModuleList(
            nn.Sequential(Block(before, after, 2), Block(after, after, 1))
            for before, after in zip([width, *widths[:-1]], widths, strict=True)
        )
        self.bring = nn.ModuleList(nn.Conv2d(each, _MERGED, 1) for each in widths[self.skipped :])
        self.enter = self._norms()
        self.tower = nn.ModuleList(nn.Conv2d(_MERGED, _MERGED, 3, padding=1, bias=False) for _ in range(_SHARED))
        self.norms = nn.ModuleList(self._norms() for _ in range(_SHARED))
        self.head = nn.Conv2d(_MERGED, classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of a batch."""
        features, found = self.stem(images), list[Tensor]()
        for stage in self.stages:
            features = stage(features)
            found.append(features)
        maps = self._merged(found[self.skipped :])[: self.levels]
        maps = [norm(each) for norm, each in zip(self.enter, maps, strict=True)]
        for convolve, norms in zip(self.tower, self.norms, strict=True):
            maps = [norm(convolve(each)) for norm, each in zip(norms.children(), maps, strict=True)]
        answers = [functional.conv2d(each, self.head.weight, self.head.bias).flatten(2) for each in maps]
        return torch.cat(answers, 2).unsqueeze(3)

    def _merged(self, found: Sequence[Tensor]) -> list[Tensor]:
        """Maps of one width, to each added what coarser ones hold."""
        merged = list[Tensor]()
        for bring, features in zip(reversed(self.bring), reversed(found), strict=True):
            brought = bring(features)
            if merged:
                brought = brought + functional.interpolate(merged[0], brought.shape[-2:], mode="nearest")
            merged.insert(0, brought)
        return merged

    def _norms(self) -> nn.ModuleList:
        return nn.ModuleList(nn.Sequential(nn.BatchNorm2d(_MERGED), nn.ReLU()) for _ in range(self.levels))
