"""Residual networks: basic and bottleneck blocks (He et al., 2016, arXiv:1512.03385).

As in the mobile family the choices of a stage hold for all its blocks.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from spaces import staged
from spaces.blocks import Size, activation, conv_norm
from spaces.nni_adapter import LayerChoice, Repeat, choice
from spaces.scales import SMALL
from spaces.staged import ACTIVATION, Plan, StagedSpace

_KERNELS = [3, 5]


@dataclass(frozen=True)
class Stage(staged.Stage):
    """A stage with the widths inside a bottleneck block, in channels (of no effect on basic blocks)."""

    hidden: tuple[int, ...] = ()


_TINY = Plan(
    8,
    1,
    (
        Stage(1, (8, 16), (1, 2), (8,)),
        Stage(2, (16, 24, 32), (1, 2), (8, 16)),
        Stage(2, (32, 48, 64), (1, 2), (8, 16, 24)),
    ),
)
_SMALL = Plan(
    8,
    1,
    (
        Stage(1, (8, 16, 24), (1, 2), (8, 16)),
        Stage(2, (16, 32, 48), (1, 2), (8, 16, 24)),
        Stage(2, (32, 64, 96), (1, 2), (16, 32, 48)),
    ),
)
_MIDDLE = Plan(
    8,
    1,
    (
        Stage(1, (8, 16), (1,), (8,)),
        Stage(2, (16, 32), (1, 2), (8, 16)),
        Stage(2, (32, 48, 64), (1, 2), (8, 16, 24)),
        Stage(2, (64, 96, 128), (1, 2), (16, 32, 48)),
    ),
)
_LARGE = Plan(
    16,
    2,
    (
        Stage(2, (16, 32, 48), (1, 2), (8, 16, 24)),
        Stage(2, (32, 64, 96), (1, 2, 3), (16, 32, 48)),
        Stage(2, (64, 128, 192), (1, 2, 3), (32, 64, 96)),
        Stage(2, (128, 192, 256), (1, 2), (64, 96, 128)),
    ),
)


def plan(image_size: int) -> Plan[Stage]:
    """The outline for images of that many pixels a side."""
    for largest, outline in ((20, _TINY), (32, _SMALL), (SMALL, _MIDDLE)):
        if image_size <= largest:
            return outline
    return _LARGE


class Residual(nn.Module):
    """The sum of a branch and a shortcut, then an activation: (N, inputs, H, W) -> (N, outputs, H / s, W / s)."""

    def __init__(self, branch: nn.Module, inputs: Size, outputs: Size, *, stride: int, project: bool) -> None:
        super().__init__()
        self.branch = branch
        self.shortcut = conv_norm(inputs, outputs, 1, stride=stride) if project else nn.Identity()
        self.act = activation(ACTIVATION)

    def forward(self, features: Tensor) -> Tensor:
        out: Tensor = self.act(self.branch(features) + self.shortcut(features))
        return out


class ResidualSpace(StagedSpace):
    """Choices by stage: depth, block, width, kernel, hidden (bottlenecks); for all: activation, input resolution.

    Layers: ``stem``, ``stages.<stage>.<block>.{branch,shortcut,act}``, ``head``.
    """

    def __init__(self, channels: int, image_size: int, classes: int) -> None:
        super().__init__(channels, image_size, classes, plan(image_size), _stage)


def _stage(label: str, stage: Stage, inputs: Size, outputs: Size) -> nn.Module:
    kernel = choice(f"{label}.kernel", _KERNELS)
    hidden = choice(f"{label}.hidden", list(stage.hidden)) if len(stage.hidden) > 1 else stage.hidden[0]

    def block(index: int) -> nn.Module:
        first = index == 0
        before, stride = (inputs, stage.stride) if first else (outputs, 1)
        branches = {
            "bottleneck": _bottleneck(before, outputs, hidden, kernel, stride),
            "basic": _basic(before, outputs, kernel, stride),
        }
        branch = LayerChoice(branches, label=f"{label}.block")
        return Residual(branch, before, outputs, stride=stride, project=first)

    blocks: nn.Module = Repeat(block, choice(f"{label}.depth", list(stage.depths)))
    return blocks


def _basic(inputs: Size, outputs: Size, kernel: Size, stride: int) -> nn.Module:
    first = conv_norm(inputs, outputs, kernel, stride=stride, act=activation(ACTIVATION))
    return nn.Sequential(first, conv_norm(outputs, outputs, kernel))


def _bottleneck(inputs: Size, outputs: Size, hidden: Size, kernel: Size, stride: int) -> nn.Module:
    reduce = conv_norm(inputs, hidden, 1, act=activation(ACTIVATION))
    spatial = conv_norm(hidden, hidden, kernel, stride=stride, act=activation(ACTIVATION))
    return nn.Sequential(reduce, spatial, conv_norm(hidden, outputs, 1))
