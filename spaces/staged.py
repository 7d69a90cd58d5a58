"""What the families share: a stem, stages of ever smaller features, a head."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from torch import Tensor, nn

from spaces.blocks import Head, Size, activation, conv_norm, draw_seed, initialise
from spaces.nni_adapter import ModelSpace, choice
from spaces.scales import resolutions
from spaces.space import RESOLUTION

ACTIVATION = "activation"


@dataclass(frozen=True)
class Stage:
    """Blocks of one resolution: the first has the stride; widths in channels, depths in blocks."""

    stride: int
    widths: tuple[int, ...]
    depths: tuple[int, ...] = (1, 2, 3)


AnyStage = TypeVar("AnyStage", bound=Stage)


@dataclass(frozen=True)
class Plan(Generic[AnyStage]):
    """The outline of a family for a range of image sizes."""

    stem_width: int
    stem_stride: int
    stages: tuple[AnyStage, ...]

    @property
    def stride(self) -> int:
        """Pixels of the picture to a place of the last stage's map, each way."""
        return self.stem_stride * math.prod(stage.stride for stage in self.stages)


class StagedSpace(ModelSpace):
    """A family by its outline and by what builds a stage: (label, stage, inputs, outputs) -> module.

    Layers: ``stem``, ``stages.<stage>``, ``head``; choices: the input resolution, the activation, the width of
    each stage, and what the stages add.
    """

    def __init__(
        self,
        channels: int,
        image_size: int,
        classes: int,
        outline: Plan[AnyStage],
        make_stage: Callable[[str, AnyStage, Size, Size], nn.Module],
    ) -> None:
        super().__init__()
        seed = draw_seed()
        self.add_mutable(choice(RESOLUTION, list(resolutions(image_size))))
        self.stem, self.stages, width = build_stages(channels, outline, make_stage)
        self.head = Head(width, classes)
        initialise(self, seed)

    def forward(self, images: Tensor) -> Tensor:
        """(N, channels, R, R) -> logits (N, classes)."""
        logits: Tensor = self.head(self.stages(self.stem(images)))
        return logits


def build_stages(
    channels: int, outline: Plan[AnyStage], make_stage: Callable[[str, AnyStage, Size, Size], nn.Module]
) -> tuple[nn.Module, nn.Sequential, Size]:
    """A stem and stages (N, channels, R, R) -> (N, width, R / stride, R / stride), and that width."""
    width: Size = outline.stem_width
    stem = conv_norm(channels, width, 3, stride=outline.stem_stride, act=activation(ACTIVATION))
    stages = nn.Sequential()
    for index, stage in enumerate(outline.stages):
        outputs = choice(f"stages.{index}.width", list(stage.widths))
        stages.append(make_stage(f"stages.{index}", stage, width, outputs))
        width = outputs
    return stem, stages, width
