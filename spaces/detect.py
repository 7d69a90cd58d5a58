"""Students of detection: a searched encoder, a searched pyramid of its maps, one anchor-free head for all of them.

As EfficientDet (Tan et al., 2020, arXiv:1911.09070), with places that answer for boxes as FCOS's do (Tian et al.,
2019, arXiv:1904.01355).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from spaces.blocks import draw_seed, initialise
from spaces.nni_adapter import ModelSpace, MutableConv2d, Repeat, choice
from spaces.pyramid import BiFpn, Laterals, Shared
from spaces.scales import level_sides, resolutions, strides
from spaces.segment import encoder
from spaces.space import RESOLUTION
from spaces.staged import Stage

_STAGES = {
    4: Stage(2, (16, 24, 32), (1, 2)),
    8: Stage(2, (24, 40, 56)),
    16: Stage(2, (48, 80, 112)),
    32: Stage(2, (80, 128, 176)),
}
"""By the stride that they reach."""
_WIDTHS = [16, 32, 48, 64]
_REPEATS = [1, 2, 3]
_DEPTHS = [0, 1, 2]


class DetectSpace(ModelSpace):
    """Choices: those of the mobile space's stages, ``pyramid.width`` and ``pyramid.repeats`` of what passes
    between the maps, and ``tower.depth``, the layers that these share before the answers.

    Layers: ``stem``, ``stages.<stage>``, ``laterals.bring.<level>``, ``pyramid.<repeat>.{down,up}.<step>``,
    ``tower.<layer>``, ``head``.
    """

    def __init__(self, channels: int, image_size: int, classes: int) -> None:
        super().__init__()
        seed = draw_seed()
        self.add_mutable(choice(RESOLUTION, list(resolutions(image_size))))
        self.sides, reached = level_sides(image_size), strides(image_size)
        levels, width = len(reached), choice("pyramid.width", _WIDTHS)
        stages = [stage for stride, stage in _STAGES.items() if stride <= reached[-1]]
        self.stem, self.stages, widths = encoder(channels, stages)
        self.skipped = [*_STAGES].index(reached[0])
        self.laterals = Laterals(widths[self.skipped :], width, levels)
        self.pyramid = Repeat(lambda index: BiFpn(width, levels), choice("pyramid.repeats", _REPEATS))
        self.tower = Repeat(lambda index: Shared(width, levels), choice("tower.depth", _DEPTHS))
        self.head = MutableConv2d(width, classes, 1)
        initialise(self, seed)

    def forward(self, images: Tensor) -> Tensor:
        """(N, channels, R, R) -> logits (N, classes, P, 1), places as of ``spaces.scales.answer_shape``."""
        features, found = self.stem(images), list[Tensor]()
        for stage in self.stages:
            features = stage(features)
            found.append(features)
        maps = self.tower(self.pyramid(self.laterals(found[self.skipped :])))
        answers = [self._answered(each, side) for each, side in zip(maps, self.sides, strict=True)]
        return torch.cat(answers, 1).transpose(1, 2).unsqueeze(3)

    def _answered(self, features: Tensor, side: int) -> Tensor:
        """The places of one map, (N, side * side, classes); not by calling the head, which would then be the last
        layer of every size."""
        logits = functional.conv2d(features, self.head.weight, self.head.bias)
        if logits.shape[-1] != side:
            logits = functional.interpolate(logits, (side, side), mode="bilinear")
        return logits.flatten(2).transpose(1, 2)
