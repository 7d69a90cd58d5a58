"""Transformer encoders for texts, up to BERT-mini (Turc et al., 2019, arXiv:1908.08962)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from torch import Tensor, nn
from torch.nn import functional

from spaces.blocks import Size, draw_seed, initialise
from spaces.nni_adapter import (
    ModelSpace,
    MutableEmbedding,
    MutableLayerNorm,
    MutableLinear,
    ParametrizedModule,
    Repeat,
    choice,
)
from spaces.scales import lengths
from spaces.space import RESOLUTION

_WIDTHS = [32, 64, 128, 256]
_DEPTHS = [1, 2, 3, 4]
_HEADS = [2, 4, 8]
_RATIOS = [1, 2, 4]
_EMBEDDINGS = [32, 64, 128]
_DROPOUT = 0.1
_FORGOTTEN = 0.2
"""Share of the tokens that a student does not see while it learns (Iyyer et al., 2015, "Deep Unordered
Composition"): with few texts it would learn them by heart."""
PAD = 0
"""The id that fills a short text up; it takes no part."""
HIDDEN = -1e4
"""What is added to the scores of padding: nothing after the softmax, and a number in float16, too."""


class TextSpace(ModelSpace):
    """Choices: ``resolution`` (tokens), ``depth``, ``width``, ``heads``, ``feed`` (times width), ``embedding``.

    Encoders that normalise first (Xiong et al., 2020, arXiv:2002.04745), of token ids with learnt places; what is
    classified is the mean over a text's tokens. The table of tokens is factorised as in ALBERT (Lan et al., 2020,
    arXiv:1909.11942): ``embedding`` numbers a token, projected to the width. Layers: ``stem`` (``words``,
    ``project``, ``places``), ``stages.<index>`` (``attention``, ``feed``), ``head``.
    """

    def __init__(self, channels: int, image_size: int, classes: int) -> None:
        super().__init__()
        seed = draw_seed()
        width, heads, ratio = choice("width", _WIDTHS), choice("heads", _HEADS), choice("feed", _RATIOS)
        length = choice(RESOLUTION, list(lengths(image_size)))
        self.stem = TokenEmbedding(channels, length, choice("embedding", _EMBEDDINGS), width)
        self.stages = Repeat(lambda index: EncoderLayer(width, heads, ratio), choice("depth", _DEPTHS))
        self.head = TextHead(width, classes)
        initialise(self, seed)

    def forward(self, ids: Tensor) -> Tensor:
        """(N, T) int64 token ids, ``PAD`` after the text -> logits (N, classes)."""
        return encoded(ids, self.stem, self.stages, self.head)


def encoded(ids: Tensor, stem: nn.Module, layers: Iterable[nn.Module], head: nn.Module) -> Tensor:
    """What ``head`` makes of the tokens, (N, T) int64, that an embedding and layers read, padding hidden."""
    hidden = stem(ids)
    kept = (ids != PAD).to(hidden.dtype)
    bias = ((1 - kept) * HIDDEN)[:, None, None, :]
    for layer in layers:
        hidden = layer(hidden, bias)
    found: Tensor = head(hidden, kept)
    return found


class TokenEmbedding(nn.Module):
    """Token ids (N, T) -> (N, T, width): a factorised table, and what is learnt of each place.

    ``forgotten`` is the share of the tokens that are hidden while it learns.
    """

    def __init__(self, tokens: int, length: Size, small: Size, width: Size, forgotten: float = _FORGOTTEN) -> None:
        super().__init__()
        self.words = MutableEmbedding(tokens, small)
        self.forget = nn.Dropout1d(forgotten)
        self.project = MutableLinear(small, width)
        self.places = MutableEmbedding(length, width)
        self.dropout = nn.Dropout(_DROPOUT)

    def forward(self, ids: Tensor) -> Tensor:
        out: Tensor = self.dropout(self.project(self.forget(self.words(ids))) + self.places.weight)
        return out


class TextHead(nn.Module):
    """The mean over the tokens that are kept, normalised and classified."""

    def __init__(self, width: Size, classes: int) -> None:
        super().__init__()
        self.norm = MutableLayerNorm(width)
        self.linear = MutableLinear(width, classes)

    def forward(self, hidden: Tensor, kept: Tensor) -> Tensor:
        shares = kept / kept.sum(1, keepdim=True).clamp(min=1)
        logits: Tensor = self.linear((self.norm(hidden) * shares[..., None]).sum(1))
        return logits


class SelfAttention(nn.Module):
    """Self-attention (Vaswani et al., 2017) over what the bias leaves visible, its norm first."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)
        self.dropout = nn.Dropout(_DROPOUT)

    def forward(self, hidden: Tensor, bias: Tensor) -> Tensor:
        inside = self.norm(hidden)
        query, key, value = (self._split(part(inside)) for part in (self.query, self.key, self.value))
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        out: Tensor = self.dropout(self.output(mixed.transpose(1, 2).flatten(2)))
        return out

    def extra_repr(self) -> str:
        return f"heads={self.heads}"

    def _split(self, tokens: Tensor) -> Tensor:
        return tokens.view(*tokens.shape[:2], self.heads, -1).transpose(1, 2)


class _Attention(ParametrizedModule, SelfAttention, wraps=SelfAttention):  # type: ignore[call-arg]
    """The same, of a width and heads that are choices."""


class EncoderLayer(nn.Module):
    """Self-attention and a feed-forward network, each beside a way around it: (N, T, width) -> the same shape."""

    def __init__(self, width: Size, heads: Size, ratio: Size) -> None:
        super().__init__()
        self.attention = _Attention(width, heads)
        self.feed = nn.Sequential(
            OrderedDict[str, nn.Module](
                norm=MutableLayerNorm(width),
                expand=MutableLinear(width, width * ratio),
                act=nn.GELU(),
                contract=MutableLinear(width * ratio, width),
                dropout=nn.Dropout(_DROPOUT),
            )
        )

    def forward(self, hidden: Tensor, bias: Tensor) -> Tensor:
        hidden = hidden + self.attention(hidden, bias)
        out: Tensor = hidden + self.feed(hidden)
        return out
