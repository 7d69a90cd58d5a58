"""What the families share: a stem, stages of ever smaller features, a head."""

from __future__ import annotations

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
        width: Size = outline.stem_width
        self.stem = conv_norm(channels, width, 3, stride=outline.stem_stride, act=activation(ACTIVATION))
        self.stages = nn.Sequential()
        for index, stage in enumerate(outline.stages):
            outputs = choice(f"stages.{index}.width", list(stage.widths))
            self.stages.append(make_stage(f"stages.{index}", stage, width, outputs))
            width = outputs
        self.head = Head(width, classes)
        initialise(self, seed)

    def forward(self, images: Tensor) -> Tensor:
        """(N, channels, R, R) -> logits (N, classes)."""
        logits: Tensor = self.head(self.stages(self.stem(images)))
        return logits
