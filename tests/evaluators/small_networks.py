"""Small networks with what large ones are made of."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Encoder(nn.Module):
    """A layer of a transformer over tokens, with a mask; two outputs."""

    outputs = 2

    def __init__(self, vocabulary: int = 60, width: int = 32) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(torch.randn(1, 9, width))
        self.project = nn.Linear(width, 3 * width)
        self.norm, self.inner = nn.LayerNorm(width), nn.Sequential(nn.Linear(width, 64), nn.GELU())
        self.head = nn.Linear(64, 5)

    def example(self) -> tuple[Tensor, ...]:
        return torch.randint(60, (2, 9)), torch.ones(2, 9, dtype=torch.int64)

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.embedding(ids) + self.positions
        query, key, value = (
            part.reshape(2, 9, 4, 8).transpose(1, 2) for part in self.project(hidden).chunk(3, dim=-1)
        )
        bias = (1.0 - mask[:, None, None, :].float()) * -1e4
        mixed = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        hidden = self.norm(hidden + mixed.transpose(1, 2).flatten(2))
        return self.head(self.inner(hidden)), hidden.mean(1)


class Pooled(nn.Module):
    """Convolutions over an image padded by hand, a gate, and a second input added at the end."""

    outputs = 1

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Sequential(nn.ConstantPad2d((0, 1, 0, 1), 0.0), nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8))
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 8, 1), nn.Hardsigmoid())
        self.head = nn.Linear(8, 4)
        self.eval()

    def example(self) -> tuple[Tensor, ...]:
        return torch.randn(1, 3, 16, 16), torch.randn(1, 4)

    def forward(self, image: Tensor, offset: Tensor) -> Tensor:
        hidden = nn.functional.hardswish(self.first(image))
        return self.head((hidden * self.gate(hidden)).mean((2, 3))) + offset
