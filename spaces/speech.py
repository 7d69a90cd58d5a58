"""Keyword spotting: depthwise separable convolutions on log-mel features (DS-CNN, Zhang et al., 2017, "Hello Edge:
Keyword Spotting on Microcontrollers", arXiv:1711.07128).

Students take the waveform, so that the features are compiled with them and count in their latency.
"""

from __future__ import annotations

from torch import Tensor, nn

from spaces.blocks import Head, Size, activation, conv_norm, draw_seed, initialise
from spaces.log_mel import LogMel
from spaces.nni_adapter import ModelSpace, ParametrizedModule, Repeat, choice

_BANDS = [20, 32, 40]
_OVERLAPS = [0, 25, 50]
"""Per cent of a frame that the next one shares."""
_STEM_WIDTHS = [8, 16, 32]
_STAGES = ((1, [16, 32, 48, 64]), (2, [32, 64, 96, 128]))
"""Of each stage: the stride of its first block, and widths."""
_DEPTHS = [1, 2, 3]
_ACTIVATION = "activation"


class MutableLogMel(ParametrizedModule, LogMel, wraps=LogMel):  # type: ignore[call-arg]
    """``LogMel`` with choices for its settings."""


class Separable(nn.Module):
    """Filter each channel, then mix them: (N, inputs, H, W) -> (N, outputs, H / stride, W / stride)."""

    def __init__(self, inputs: Size, outputs: Size, kernel: Size, stride: int) -> None:
        super().__init__()
        self.depthwise = conv_norm(
            inputs, inputs, kernel, stride=stride, groups=inputs, act=activation(_ACTIVATION)
        )
        self.pointwise = conv_norm(inputs, outputs, 1, act=activation(_ACTIVATION))

    def forward(self, features: Tensor) -> Tensor:
        out: Tensor = self.pointwise(self.depthwise(features))
        return out


class SpeechSpace(ModelSpace):
    """Choices: mel ``bands`` and ``overlap`` of frames (per cent); kernel, stride and width of the ``stem``;
    depth, width and kernel of each stage; the activation.

    Layers: ``front`` (the features), ``stem``, ``stages.<stage>.<block>.{depthwise,pointwise}``, ``head``.
    """

    def __init__(self, samples: int, sample_rate: int, classes: int) -> None:
        super().__init__()
        seed = draw_seed()
        self.front = MutableLogMel(samples, sample_rate, choice("bands", _BANDS), choice("overlap", _OVERLAPS))
        width: Size = choice("stem.width", _STEM_WIDTHS)
        stride = choice("stem.stride", [2, 3, 4])
        self.stem = conv_norm(
            1, width, choice("stem.kernel", [3, 5, 7]), stride=stride, act=activation(_ACTIVATION)
        )
        self.stages = nn.Sequential()
        for index, (step, widths) in enumerate(_STAGES):
            outputs = choice(f"stages.{index}.width", widths)
            self.stages.append(_stage(f"stages.{index}", step, width, outputs))
            width = outputs
        self.head = Head(width, classes)
        initialise(self, seed)

    def forward(self, waveforms: Tensor) -> Tensor:
        """(N, samples) -> logits (N, classes)."""
        logits: Tensor = self.head(self.stages(self.stem(self.front(waveforms))))
        return logits


def _stage(label: str, stride: int, inputs: Size, outputs: Size) -> nn.Module:
    kernel = choice(f"{label}.kernel", [3, 5])

    def block(index: int) -> nn.Module:
        first = index == 0
        return Separable(inputs if first else outputs, outputs, kernel, stride if first else 1)

    blocks: nn.Module = Repeat(block, choice(f"{label}.depth", _DEPTHS))
    return blocks
