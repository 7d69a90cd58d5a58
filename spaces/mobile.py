"""Inverted residuals: the mobile family (MobileNetV2, arXiv:1801.04381; MobileNetV3, arXiv:1905.02244).

The choices of a stage hold for all its blocks: sharing them loses nothing (Radosavovic et al., 2020,
arXiv:2003.13678) and leaves the search far fewer choices.
"""

from __future__ import annotations

from torch import Tensor, nn

from spaces.blocks import Size, SqueezeExcite, activation, conv_norm
from spaces.nni_adapter import LayerChoice, Repeat, choice
from spaces.scales import SMALL
from spaces.staged import ACTIVATION, Plan, Stage, StagedSpace

_KERNELS = [3, 5, 7]
_EXPANSIONS = [2, 4, 6]


_TINY = Plan(8, 1, (Stage(1, (8, 16, 24), (1, 2)), Stage(2, (16, 24, 32)), Stage(2, (32, 48, 64))))
_SMALL = Plan(16, 1, (Stage(1, (8, 16, 24), (1, 2)), Stage(2, (16, 32, 48)), Stage(2, (32, 64, 96))))
_MIDDLE = Plan(
    16, 1, (Stage(1, (8, 16, 24), (1,)), Stage(2, (16, 24, 32)), Stage(2, (32, 48, 64)), Stage(2, (64, 96, 128)))
)
_LARGE = Plan(
    16,
    2,
    (
        Stage(1, (8, 16, 24), (1,)),
        Stage(2, (16, 24, 32)),
        Stage(2, (24, 40, 56)),
        Stage(2, (64, 96, 128), (1, 2, 3, 4)),
        Stage(2, (96, 144, 192)),
    ),
)


def plan(image_size: int) -> Plan[Stage]:
    """The outline for images of that many pixels a side."""
    for largest, outline in ((20, _TINY), (32, _SMALL), (SMALL, _MIDDLE)):
        if image_size <= largest:
            return outline
    return _LARGE


class InvertedResidual(nn.Module):
    """Expand, filter each channel, gate, project: (N, inputs, H, W) -> (N, outputs, H / stride, W / stride)."""

    def __init__(
        self,
        inputs: Size,
        outputs: Size,
        kernel: Size,
        expansion: Size,
        *,
        stride: int,
        residual: bool,
        squeeze: str,
    ) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.residual = residual
        self.expand = conv_norm(inputs, hidden, 1, act=activation(ACTIVATION))
        self.depthwise = conv_norm(
            hidden, hidden, kernel, stride=stride, groups=hidden, act=activation(ACTIVATION)
        )
        gates = SqueezeExcite(hidden, (hidden + 31) // 32 * 8)
        self.squeeze = LayerChoice({"no": nn.Identity(), "yes": gates}, label=squeeze)
        self.project = conv_norm(hidden, outputs, 1)

    def forward(self, features: Tensor) -> Tensor:
        out: Tensor = self.project(self.squeeze(self.depthwise(self.expand(features))))
        return features + out if self.residual else out


class MobileSpace(StagedSpace):
    """Choices by stage: depth, width, kernel, expansion, squeeze; for all: activation and input resolution.

    Layers: ``stem``, ``stages.<stage>.<block>.{expand,depthwise,squeeze,project}``, ``head``.
    """

    def __init__(self, channels: int, image_size: int, classes: int) -> None:
        super().__init__(channels, image_size, classes, plan(image_size), inverted_stage)


def inverted_stage(label: str, stage: Stage, inputs: Size, outputs: Size) -> nn.Module:
    """Inverted residuals one after the other, whose choices are ``<label>.depth``, ``.kernel`` and so on."""
    kernel = choice(f"{label}.kernel", _KERNELS)
    expansion = choice(f"{label}.expansion", _EXPANSIONS)

    def block(index: int) -> nn.Module:
        return InvertedResidual(
            inputs if index == 0 else outputs,
            outputs,
            kernel,
            expansion,
            stride=stage.stride if index == 0 else 1,
            residual=index > 0,
            squeeze=f"{label}.squeeze",
        )

    blocks: nn.Module = Repeat(block, choice(f"{label}.depth", list(stage.depths)))
    return blocks
