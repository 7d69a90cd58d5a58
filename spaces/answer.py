"""Students of questions about pictures: a tower of inverted residuals, a small encoder of texts, and their fusion.

What the question says weighs the picture's features place by place before they are pooled, as FiLM (Perez et al.,
2018, arXiv:1709.07871) and MUTAN (Ben-younes et al., 2017, arXiv:1705.06676) have it, so that one question counts
what another tells the colour of.
"""

from __future__ import annotations

from torch import Tensor, nn

from spaces.blocks import Head, Size, activation, conv_norm, draw_seed, initialise
from spaces.mobile import inverted_stage, plan
from spaces.nni_adapter import LayerChoice, ModelSpace, MutableEmbedding, MutableLinear, Repeat, choice
from spaces.scales import resolutions
from spaces.space import RESOLUTION
from spaces.staged import ACTIVATION, build_stages
from spaces.text import EncoderLayer, TextHead, TokenEmbedding, encoded

_WIDTHS = [32, 64, 96]
_DEPTHS = [0, 1, 2]
_HEADS, _RATIO = 4, 2
_FUSED = [32, 64, 96]


class AnswerSpace(ModelSpace):
    """Choices: those of the mobile space; of the question ``question.width`` and ``question.depth`` (layers; 0:
    the mean of its tokens); of both ``fusion.width`` and how they are joined (``fusion.merge``).

    Layers: ``question`` (``stem``, ``stages.<index>``, ``head``), ``stem``, ``stages.<stage>``, ``fusion``,
    ``head``.
    """

    def __init__(self, channels: int, image_size: int, classes: int, pieces: int, tokens: int) -> None:
        super().__init__()
        seed = draw_seed()
        size, outline = choice(RESOLUTION, list(resolutions(image_size))), plan(image_size)
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


class Question(nn.Module):
    """What is asked, as a vector: token ids (N, T) -> (N, outputs)."""

    def __init__(self, pieces: int, tokens: int, outputs: Size) -> None:
        super().__init__()
        width = choice("question.width", _WIDTHS)
        self.stem = TokenEmbedding(pieces, tokens, width, width)
        self.stages = Repeat(lambda index: EncoderLayer(width, _HEADS, _RATIO), choice("question.depth", _DEPTHS))
        self.head = TextHead(width, outputs)

    def forward(self, ids: Tensor) -> Tensor:
        return encoded(ids, self.stem, self.stages, self.head)


class Fusion(nn.Module):
    """A picture's features, with what is learnt of each of the ``places``, joined with a question.

    (N, inputs, H, W) and (N, width) -> (N, width, H, W).
    """

    def __init__(self, inputs: Size, places: Size, width: Size) -> None:
        super().__init__()
        self.project = conv_norm(inputs, width, 1)
        self.places = MutableEmbedding(places, width)
        self.merge = LayerChoice({"product": Product(), "modulation": Modulation(width)}, label="fusion.merge")
        self.mix = nn.Sequential(activation(ACTIVATION), conv_norm(width, width, 1, act=activation(ACTIVATION)))

    def forward(self, features: Tensor, question: Tensor) -> Tensor:
        side = features.shape[-1]
        placed = self.places.weight.transpose(0, 1).reshape(1, -1, side, side)
        fused: Tensor = self.mix(self.merge(self.project(features) + placed, question))
        return fused


class Product(nn.Module):
    """Features times what is asked, channel by channel."""

    def forward(self, features: Tensor, question: Tensor) -> Tensor:
        return features * question[:, :, None, None]


class Modulation(nn.Module):
    """Features scaled and shifted by what is asked, channel by channel (FiLM)."""

    def __init__(self, width: Size) -> None:
        super().__init__()
        self.shift = MutableLinear(width, width)

    def forward(self, features: Tensor, question: Tensor) -> Tensor:
        scaled = features * (1 + question)[:, :, None, None]
        shifted: Tensor = scaled + self.shift(question)[:, :, None, None]
        return shifted
