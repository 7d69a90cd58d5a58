"""Students of detection: a searched encoder and decoder, and an anchor-free head on one fine grid."""

from __future__ import annotations

from torch import nn

from spaces.blocks import Size
from spaces.nni_adapter import Repeat, choice
from spaces.segment import SegmentSpace, separable

_DEPTHS = [0, 1, 2]


class DetectSpace(SegmentSpace):
    """Choices: those of ``SegmentSpace``, and ``tower.depth``, the separable layers before the answers (FCOS).

    Layers: ``stem``, ``stages.<stage>``, ``context``, ``decoder.<step>``, ``tower.<layer>``, ``head``.
    """

    def __init__(self, channels: int, image_size: int, classes: int) -> None:
        super().__init__(channels, image_size, classes)

    def tower_of(self, width: Size) -> nn.Module:
        """See ``SegmentSpace.tower_of``."""
        tower: nn.Module = Repeat(lambda index: separable(width), choice("tower.depth", _DEPTHS))
        return tower
