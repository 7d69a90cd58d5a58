"""Students of questions about pictures: a tower of inverted residuals, a small encoder of texts, and their fusion.

What the question says weighs the picture's features place by place before they are pooled, as FiLM (Perez et al.,
2018, arXiv:1709.07871) and MUTAN (Ben-younes et al., 2017, arXiv:1705.06676) have it, so that one question counts
what another tells the colour of.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn

from spaces.blocks import Head, Size, activation, conv_norm, draw_seed, initialise
from spaces.mobile import inverted_stage, plan
from spaces.nni_adapter import (
    LayerChoice,
    ModelSpace,
    MutableBatchNorm1d,
    MutableEmbedding,
    MutableLinear,
    Repeat,
    choice,
)
from spaces.scales import resolutions
from spaces.segment import separable
from spaces.space import RESOLUTION
from spaces.staged import ACTIVATION, Plan, Stage, build_stages
from spaces.text import EncoderLayer, TextHead, TokenEmbedding, encoded

_WIDTHS = [32, 64, 96]
_DEPTHS = [0, 1, 2]
_HEADS, _RATIO = 4, 2
_FUSED = [32, 64, 96]
_STEPS = [1, 2, 3]


class AnswerSpace(ModelSpace):
    """Choices: those of the mobile space; of the question ``question.width`` and ``question.depth`` (layers; 0:
    the mean of its tokens); of both ``fusion.width``, in how many steps they are joined (``fusion.depth``), and
    how (``fusion.merge``).

    Layers: ``question`` (``stem``, ``stages.<index>``, ``head``, ``norm``), ``stem``, ``stages.<stage>``,
    ``fusion.steps.<index>``, ``head``.
    """

    def __init__(self, channels: int, image_size: int, classes: int, pieces: int, tokens: int) -> None:
        super().__init__()
        seed = draw_seed()
        size, outline = choice(RESOLUTION, list(resolutions(image_size))), _outline(image_size)
        fused = choice("fusion.width", _FUSED)
        self.question = Question(pieces, tokens, fused)
        self.stem, self.stages, width = build_stages(channels, outline, inverted_stage)
        side = (size + (outline.stride - 1)) // outline.stride
        self.fusion = Fusion(width, side * side, fused)
        self.head = Head(fused, classes)
        initialise(self, seed)

    def forward(self, picture: Tensor, question: Tensor) -> Tensor:
        """(N, channels, R, R) and token ids (N, T), int64 -> logits (N, classes)."""
        asked = self.question(question)
        logits: Tensor = self.head(self.fusion(self.stages(self.stem(picture)), asked))
        return logits


def _outline(image_size: int) -> Plan[Stage]:
    """That of the mobile space; of small pictures the stem halves at once, and not the last stage.

    Which places there are is what questions are about, not fine detail: maps are as large, and early layers four
    times as fast.
    """
    usual = plan(image_size)
    if usual.stem_stride > 1:
        return usual
    *stages, last = usual.stages
    return Plan(usual.stem_width, 2, (*stages, replace(last, stride=last.stride // 2)))


class Question(nn.Module):
    """What is asked, as a vector: token ids (N, T) -> (N, outputs).

    What all questions share is taken away in the end: one word is often all that tells them apart.
    """

    def __init__(self, pieces: int, tokens: int, outputs: Size) -> None:
        super().__init__()
        width = choice("question.width", _WIDTHS)
        self.stem = TokenEmbedding(pieces, tokens, width, width, forgotten=0.0)
        self.stages = Repeat(lambda index: EncoderLayer(width, _HEADS, _RATIO), choice("question.depth", _DEPTHS))
        self.head = TextHead(width, outputs)
        self.norm = MutableBatchNorm1d(outputs)

    def forward(self, ids: Tensor) -> Tensor:
        asked: Tensor = self.norm(encoded(ids, self.stem, self.stages, self.head))
        return asked


class Fusion(nn.Module):
    """A picture's features, with what is learnt of each of the ``places``, joined with a question step by step.

    (N, inputs, H, W) and (N, width) -> (N, width, H, W).
    """

    def __init__(self, inputs: Size, places: Size, width: Size) -> None:
        super().__init__()
        self.project = conv_norm(inputs, width, 1)
        self.places = MutableEmbedding(places, width)
        self.steps = Repeat(lambda index: Step(width), choice("fusion.depth", _STEPS))

    def forward(self, features: Tensor, question: Tensor) -> Tensor:
        side = features.shape[-1]
        fused: Tensor = self.project(features) + self.places.weight.transpose(0, 1).reshape(1, -1, side, side)
        for step in self.steps:
            fused = step(fused, question)
        return fused


class Step(nn.Module):
    """What is asked weighs features, which are then mixed with those near them; of the same shape."""

    def __init__(self, width: Size) -> None:
        super().__init__()
        self.merge = LayerChoice(
            {"product": Product(width), "modulation": Modulation(width)}, label="fusion.merge"
        )
        self.act = activation(ACTIVATION)
        self.mix = separable(width)

    def forward(self, features: Tensor, question: Tensor) -> Tensor:
        mixed: Tensor = features + self.mix(self.act(self.merge(features, question)))
        return mixed


class Product(nn.Module):
    """Features times what is asked, channel by channel."""

    def __init__(self, width: Size) -> None:
        super().__init__()
        self.scale = MutableLinear(width, width)

    def forward(self, features: Tensor, question: Tensor) -> Tensor:
        weighed: Tensor = features * self.scale(question)[:, :, None, None]
        return weighed


class Modulation(nn.Module):
    """Features scaled and shifted by what is asked, channel by channel (FiLM)."""

    def __init__(self, width: Size) -> None:
        super().__init__()
        self.scale = MutableLinear(width, width)
        self.shift = MutableLinear(width, width)

    def forward(self, features: Tensor, question: Tensor) -> Tensor:
        scaled = features * (1 + self.scale(question))[:, :, None, None]
        shifted: Tensor = scaled + self.shift(question)[:, :, None, None]
        return shifted
