"""Decoder-only transformers (GPT-2; Radford et al., 2019): students and teachers of text are of this one form.

One network, asked in three ways that agree: whole windows while it learns (``forward``), a prompt at once
(``prefill``), and one more token (``step``) after those whose keys and values are in a cache.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

LARGE_VOCABULARY = 10_000
"""Tokens from which on students are of the larger sizes."""
HIDDEN = -1e4
"""What is added to the scores of places that must not be seen: nothing after the softmax."""


class Table(nn.Embedding):
    """A table of tokens that also reads answers."""

    def read(self, hidden: Tensor) -> Tensor:
        """(..., embedding) -> how well each token fits, (..., tokens)."""
        return functional.linear(hidden, self.weight)


class Decoder(nn.Module):
    """Normalises first, with learnt places and a causal mask; the table of tokens also reads the answer.

    ``tokens`` are those of the vocabulary, ``window`` the most of a text that it sees, ``layers`` have ``heads``
    and a feed-forward part of ``feed`` times the ``width``. The table is factorised where ``embedding`` is not the
    width (Lan et al., 2020, arXiv:1909.11942). With ``tanh`` GELU is approximated as GPT-2 does it.

    A cache is (layers, 2, heads, window, width / heads) float32, keys and values; in a batch of B texts it has
    B * heads heads.
    """

    def __init__(
        self,
        tokens: int,
        window: int,
        embedding: int,
        width: int,
        heads: int,
        feed: int,
        layers: int,
        dropout: float = 0.0,
        tanh: bool = False,
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"a width of {width} is not divided by {heads} heads")
        self.tokens, self.window, self.heads, self.width = tokens, window, heads, width
        self.words = Table(tokens, embedding)
        self.project = nn.Identity() if embedding == width else nn.Linear(embedding, width)
        self.places = nn.Embedding(window, width)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(Layer(width, heads, feed, dropout, tanh) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.reduce = nn.Identity() if embedding == width else nn.Linear(width, embedding)

    @property
    def cache_shape(self) -> tuple[int, ...]:
        """Of the cache of one text."""
        return (len(self.layers), 2, self.heads, self.window, self.width // self.heads)

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T) int64, T at most ``window`` -> logits of what comes next, (B, T, tokens)."""
        return self._read(self.hidden(ids))

    def hidden(self, ids: Tensor) -> Tensor:
        """(B, T) int64 -> what the last layer gives, (B, T, width)."""
        hidden: Tensor = self.dropout(self.project(self.words(ids)) + self.places.weight[: ids.shape[1]])
        for layer in self.layers:
            hidden = layer(hidden)
        return hidden

    def prefill(self, ids: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
        """A prompt at once: (B, window) int64 and the place (1,) of its last token -> logits (B, tokens), cache.

        What stands behind that place is of no account; the cache holds something there that ``step`` does not see.
        """
        hidden = self.project(self.words(ids)) + self.places.weight
        cache = []
        for layer in self._each:
            hidden, kept = layer.seen(hidden)
            cache.append(kept)
        last = (torch.arange(self.window, device=ids.device) == position).to(hidden.dtype)
        return self._read(last @ hidden), torch.stack(cache)

    def step(self, token: Tensor, position: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
        """One more token: (B,) int64, its place (1,) and the cache of those before it.

        Gives logits (B, tokens) and what belongs into the cache at that place, (layers, 2, B * heads, width /
        heads).
        """
        hidden = self.project(self.words(token)) + self.places(position)
        places = torch.arange(self.window, device=token.device)
        here, later = (places == position).to(hidden.dtype), (places > position).to(hidden.dtype) * HIDDEN
        kept = []
        for number, layer in enumerate(self._each):
            hidden, new = layer.step(hidden, cache[number, 0], cache[number, 1], here, later)
            kept.append(new)
        return self._read(hidden), torch.stack(kept)

    def extra_repr(self) -> str:
        """What tensors do not tell."""
        return f"heads={self.heads}"

    @property
    def _each(self) -> Iterable[Layer]:
        return cast("Iterable[Layer]", self.layers)

    def _read(self, hidden: Tensor) -> Tensor:
        logits: Tensor = self.words.read(self.reduce(self.norm(hidden)))
        return logits


class Layer(nn.Module):
    """Attention to what came before and a feed-forward part, each added to what it has read."""

    def __init__(self, width: int, heads: int, feed: int, dropout: float, tanh: bool) -> None:
        super().__init__()
        self.heads = heads
        self.before = nn.LayerNorm(width)
        self.attend = nn.Linear(width, 3 * width)
        self.mix = nn.Linear(width, width)
        self.between = nn.LayerNorm(width)
        self.expand = nn.Linear(width, feed * width)
        self.act = nn.GELU(approximate="tanh" if tanh else "none")
        self.contract = nn.Linear(feed * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.seen(hidden)[0]

    def seen(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, width) -> the same, and keys and values (2, B * heads, T, width / heads)."""
        hidden, kept = self.attended(hidden)
        return self._fed(hidden), kept

    def attended(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """As ``seen``, without the feed-forward part."""
        query, key, value = (self._split(part) for part in self.attend(self.before(hidden)).chunk(3, -1))
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        hidden = hidden + self.dropout(self.mix(mixed.transpose(1, 2).flatten(2)))
        return hidden, torch.stack((key.flatten(0, 1), value.flatten(0, 1)))

    def step(
        self, hidden: Tensor, keys: Tensor, values: Tensor, here: Tensor, later: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(B, width) after the tokens whose keys and values are (B * heads, window, width / heads)."""
        size = hidden.shape[-1] // self.heads
        query, key, value = (part.reshape(-1, 1, size) for part in self.attend(self.before(hidden)).chunk(3, -1))
        scores = (query * keys).sum(-1) * (1 - here) + (query * key).sum(-1) * here
        shares = (scores * size**-0.5 + later).softmax(-1)
        mixed = ((shares * (1 - here)).unsqueeze(-1) * values).sum(1) + (shares * here).sum(-1, True) * value[:, 0]
        hidden = hidden + self.mix(mixed.reshape(hidden.shape))
        return self._fed(hidden), torch.stack((key[:, 0], value[:, 0]))

    def _fed(self, hidden: Tensor) -> Tensor:
        out: Tensor = hidden + self.dropout(self.contract(self.act(self.expand(self.between(hidden)))))
        return out

    def _split(self, tokens: Tensor) -> Tensor:
        return tokens.view(*tokens.shape[:2], self.heads, -1).transpose(1, 2)
