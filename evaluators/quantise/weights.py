"""Layers whose weights alone are held in few bits, while they compute in float32.

For texts: activations of transformers have outliers that a grid of 8 bits does not hold (Dettmers et al., 2022,
arXiv:2208.07339), and one token at a time is as fast as weights are read. Dense layers and tables of tokens are
taken, with a scale for each output channel and each token. Of 4 bits the scale is that with the least squared
error, which cuts large weights off (Banner et al., 2019, arXiv:1810.05723).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from evaluators.quantise.dequantised import dequantised
from evaluators.quantise.flow import watched
from evaluators.quantise.replace import replace_layer
from spaces.decoder import Table

_SHARES = tuple(share / 10 for share in range(10, 4, -1))
"""Of a row's largest weight, what may become the largest whole number."""
_HALF = 8
"""What is added to a weight of four bits, so that two of them fit a byte."""


class _Rounding(nn.Module):
    """What the layers have in common: while ``simulating``, weights are rounded, gradients straight through."""

    weight: Tensor
    weight_bits: int
    simulating = False

    def used(self) -> Tensor:
        """The weights to compute with."""
        if not self.simulating:
            return self.weight
        whole, scale = whole_weights(self.weight, self.weight_bits)
        return self.weight + (whole * scale[:, None] - self.weight).detach()


class RoundedLinear(_Rounding, nn.Linear):
    """A dense layer; it shares the tensors of the one it takes the place of."""

    def __init__(self, layer: nn.Linear, weight_bits: int) -> None:
        nn.Linear.__init__(self, layer.in_features, layer.out_features, bias=False, device="meta")
        self.weight, self.bias, self.weight_bits = layer.weight, layer.bias, weight_bits

    def forward(self, features: Tensor) -> Tensor:
        """As ``nn.Linear``."""
        return functional.linear(features, self.used(), self.bias)


class RoundedEmbedding(_Rounding, nn.Embedding):
    """A table of tokens (``reads``: of answers too); it shares the tensor of the one it takes the place of."""

    def __init__(self, layer: nn.Embedding, weight_bits: int) -> None:
        nn.Embedding.__init__(self, layer.num_embeddings, layer.embedding_dim, layer.padding_idx, device="meta")
        self.weight, self.weight_bits, self.reads = layer.weight, weight_bits, isinstance(layer, Table)

    def forward(self, ids: Tensor) -> Tensor:
        """As ``nn.Embedding``."""
        return functional.embedding(ids, self.used(), self.padding_idx)

    def read(self, hidden: Tensor) -> Tensor:
        """As ``spaces.decoder.Table``."""
        return functional.linear(hidden, self.used())


RoundedLayer = RoundedLinear | RoundedEmbedding


class StoredLinear(nn.Module):
    """The dense layer that a rounded one becomes: int8 weights (O, I), within -7..7 of four bits."""

    weight: Tensor
    scale: Tensor

    def __init__(self, layer: RoundedLinear) -> None:
        super().__init__()
        whole, scale = whole_weights(layer.weight, layer.weight_bits)
        self.register_buffer("weight", whole.to(torch.int8))
        self.register_buffer("scale", scale)
        self.bias = layer.bias

    def forward(self, features: Tensor) -> Tensor:
        """As ``nn.Linear``."""
        return functional.linear(features, dequantised(self.weight, self.scale), self.bias)


class StoredEmbedding(nn.Module):
    """The table that a rounded one becomes: int8 (V, E), or two weights of four bits a byte, uint8 (V, E / 2).

    One that reads answers too is int8: the compiler packs four bits for both by itself.
    """

    rows: Tensor
    whole: Tensor
    scale: Tensor

    def __init__(self, layer: RoundedEmbedding) -> None:
        super().__init__()
        whole, scale = whole_weights(layer.weight, layer.weight_bits)
        self._halves = layer.weight_bits == 4 and whole.shape[1] % 2 == 0 and not layer.reads
        self.register_buffer("whole", whole.to(torch.int8))
        low, high = (whole + _HALF).to(torch.uint8).chunk(2, 1)
        self.register_buffer("rows", low + 16 * high if self._halves else self.whole)
        self.register_buffer("scale", scale)

    def forward(self, ids: Tensor) -> Tensor:
        """As ``nn.Embedding``."""
        rows = self.rows[ids].float()
        if self._halves:
            high = (rows / 16).floor()
            rows = torch.cat([rows - 16 * high, high], -1) - _HALF
        return rows * self.scale[ids][..., None]

    def read(self, hidden: Tensor) -> Tensor:
        """As ``spaces.decoder.Table``."""
        return functional.linear(hidden, dequantised(self.whole, self.scale))


def whole_weights(weight: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Whole numbers (O, I) as floats and positive scales (O,) that stand for weights (O, I)."""
    weight = weight.detach()
    limit = 2 ** (bits - 1) - 1
    widest = (weight.abs().amax(1) / limit).clamp_min(torch.finfo(torch.float32).tiny)
    best, least = _rounded(weight, widest, limit), widest
    if bits > 4:
        return best, least
    error = _error(weight, best, least)
    for share in _SHARES[1:]:
        scale = widest * share
        whole = _rounded(weight, scale, limit)
        other = _error(weight, whole, scale)
        better = other < error
        error = torch.where(better, other, error)
        best, least = torch.where(better[:, None], whole, best), torch.where(better, scale, least)
    return best, least


def _rounded(weight: Tensor, scale: Tensor, limit: int) -> Tensor:
    return (weight / scale[:, None]).round().clamp(-limit, limit)


def _error(weight: Tensor, whole: Tensor, scale: Tensor) -> Tensor:
    return (weight - whole * scale[:, None]).square().sum(1)


def prepare_weights(network: nn.Module, inputs: Tensor, bits: int) -> None:
    """Make the dense layers and tables of tokens that a network calls ready to round their weights; in place.

    ``inputs`` are a few real ones, batch first. A table whose weights are read without a call (of places) stays.
    """
    calls = watched(network, inputs).calls
    for name, layer in list(network.named_modules()):
        if calls[name] and isinstance(layer, nn.Linear | nn.Embedding):
            made = RoundedLinear if isinstance(layer, nn.Linear) else RoundedEmbedding
            replace_layer(network, name, made(layer, bits).train(layer.training))  # type: ignore[arg-type]


def stored(layer: RoundedLayer) -> nn.Module:
    """What a rounded layer is delivered as."""
    return StoredLinear(layer) if isinstance(layer, RoundedLinear) else StoredEmbedding(layer)
