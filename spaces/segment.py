"""Students of segmentation: an encoder of inverted residuals and a light decoder.

The encoder is the mobile family's; the decoder is that of LR-ASPP (Howard et al., 2019, arXiv:1905.02244) or of a
U-Net (Ronneberger et al., 2015, arXiv:1505.04597) with separable convolutions.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from spaces.blocks import Size, activation, conv_norm, draw_seed, initialise
from spaces.mobile import inverted_stage
from spaces.nni_adapter import LayerChoice, ModelSpace, MutableConv2d, choice
from spaces.scales import grid, resolutions
from spaces.space import RESOLUTION
from spaces.staged import ACTIVATION, Stage

_STEM = 16
_STAGES = (
    Stage(2, (16, 24, 32), (1, 2)),
    Stage(2, (24, 40, 56)),
    Stage(2, (48, 80, 112)),
)
_DECODERS = [16, 32, 64]


class SegmentSpace(ModelSpace):
    """Choices: those of the mobile space's stages, the decoder's width, and how it merges (``decoder.merge``).

    Layers: ``stem``, ``stages.<stage>``, ``context``, ``decoder.<step>``, ``head``.
    """

    def __init__(self, channels: int, image_size: int, classes: int) -> None:
        super().__init__()
        seed = draw_seed()
        self.add_mutable(choice(RESOLUTION, list(resolutions(image_size))))
        self.grid = grid(image_size)
        self.stem, self.stages, widths = encoder(channels, _STAGES)
        inner = choice("decoder.width", _DECODERS)
        self.context = Context(widths[-1], inner)
        self.decoder = nn.ModuleList(Merge(skip, inner) for skip in reversed(widths[:-1]))
        self.head = MutableConv2d(inner, classes, 1)
        initialise(self, seed)

    def forward(self, images: Tensor) -> Tensor:
        """(N, channels, R, R) -> logits (N, classes, G, G), G = ``grid(image_size)``."""
        features, skips = self.stem(images), list[Tensor]()
        for stage in self.stages:
            features = stage(features)
            skips.append(features)
        merged = self.context(features)
        for merge, skip in zip(self.decoder, reversed(skips[:-1]), strict=True):
            merged = merge(merged, skip)
        logits: Tensor = self.head(merged)
        if logits.shape[-1] == self.grid:
            return logits
        return functional.interpolate(logits, (self.grid, self.grid), mode="bilinear")


def encoder(channels: int, stages: Sequence[Stage]) -> tuple[nn.Module, nn.Sequential, list[Size]]:
    """A stem that halves pictures (N, channels, R, R), stages of inverted residuals, and the widths of these."""
    width: Size = _STEM
    stem = conv_norm(channels, width, 3, stride=2, act=activation(ACTIVATION))
    made, widths = nn.Sequential(), list[Size]()
    for index, stage in enumerate(stages):
        outputs = choice(f"stages.{index}.width", list(stage.widths))
        made.append(inverted_stage(f"stages.{index}", stage, width, outputs))
        widths.append(width := outputs)
    return stem, made, widths


class Context(nn.Module):
    """Coarse features, gated by what the whole picture holds: (N, inputs, H, W) -> (N, outputs, H, W)."""

    def __init__(self, inputs: Size, outputs: Size) -> None:
        super().__init__()
        self.project = conv_norm(inputs, outputs, 1, act=activation(ACTIVATION))
        self.weigh = MutableConv2d(inputs, outputs, 1)
        self.gate = nn.Hardsigmoid()

    def forward(self, features: Tensor) -> Tensor:
        gates: Tensor = self.gate(self.weigh(features.mean((2, 3), keepdim=True)))
        weighed: Tensor = self.project(features) * gates
        return weighed


class Merge(nn.Module):
    """Coarse features scaled up and added to fine ones: (N, C, H, W), (N, skip, 2H, 2W) -> (N, C, 2H, 2W)."""

    def __init__(self, skip: Size, width: Size) -> None:
        super().__init__()
        self.bring = conv_norm(skip, width, 1)
        self.act = activation(ACTIVATION)
        self.refine = LayerChoice({"add": nn.Identity(), "convolve": separable(width)}, label="decoder.merge")

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        scaled = functional.interpolate(coarse, fine.shape[-2:], mode="nearest")
        merged: Tensor = self.refine(self.act(scaled + self.bring(fine)))
        return merged


def separable(width: Size) -> nn.Module:
    """A 3x3 convolution of each channel, then one of all channels: (N, width, H, W) -> the same shape."""
    return nn.Sequential(
        OrderedDict[str, nn.Module](
            depthwise=conv_norm(width, width, 3, groups=width),
            project=conv_norm(width, width, 1, act=activation(ACTIVATION)),
        )
    )
