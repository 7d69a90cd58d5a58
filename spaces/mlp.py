"""Multi-layer perceptrons: for feature vectors, such as those of a graph's nodes, and for small images."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from spaces.blocks import Size, activation, draw_seed, initialise
from spaces.nni_adapter import LayerChoice, ModelSpace, MutableBatchNorm1d, MutableLinear, Repeat, choice
from spaces.space import sample_shape

_WIDTHS = [16, 32, 64, 128, 256]
_FURTHER = [0, 1, 2]
_DROPOUTS = {"no": 0.0, "light": 0.2, "strong": 0.5}


class MlpSpace(ModelSpace):
    """Choices: ``depth`` (hidden layers beyond the first), ``width`` of them all, activation, ``dropout``.

    Layers: ``stem``, ``stages.<index>``, ``head``. Dropout (Srivastava et al., 2014) is a choice because what a
    student needs of it depends on its width and on the data; compiled students have none.
    """

    def __init__(self, channels: int, image_size: int, classes: int) -> None:
        super().__init__()
        seed = draw_seed()
        width = choice("width", _WIDTHS)
        inputs = 1
        for size in sample_shape(channels, image_size):
            inputs *= size
        self.stem = nn.Sequential(nn.Flatten(), _hidden(inputs, width))
        self.stages = Repeat(lambda index: _hidden(width, width), choice("depth", _FURTHER))
        self.head = MutableLinear(width, classes)
        initialise(self, seed)

    def forward(self, inputs: Tensor) -> Tensor:
        """(N, features) or (N, channels, R, R) -> logits (N, classes)."""
        logits: Tensor = self.head(self.stages(self.stem(inputs)))
        return logits


def _hidden(inputs: Size, outputs: Size) -> nn.Module:
    dropped: nn.Module = LayerChoice({name: nn.Dropout(p) for name, p in _DROPOUTS.items()}, label="dropout")
    return nn.Sequential(
        OrderedDict[str, nn.Module](
            linear=MutableLinear(inputs, outputs),
            norm=MutableBatchNorm1d(outputs),
            act=activation("activation"),
            dropout=dropped,
        )
    )
