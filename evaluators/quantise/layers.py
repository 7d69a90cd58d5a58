"""Layers that learn with simulated 8-bit weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from evaluators.compile.integers import GROUP, PAIRED_SUM, in_16_bits, joined_groups, joined_rows
from evaluators.quantise.grid import Grid

_PAIRED_LIMIT = 63
"""Of weights of 7 bits."""


class _Simulating(nn.Module):
    """What the layers have in common.

    While ``simulating``, weights are whole numbers of ``weight_bits``, times a scale for each output channel.
    ``grid`` is that of the input, where no layer before reads the same one; ``reads`` holds it in any case, out
    of sight of ``named_modules``. The layer ``applies`` it itself, or a hook where the input is made has done so.
    ``norm`` names the batch norm behind, which goes into the scales in the end.
    """

    grid: Grid | None
    reads: tuple[Grid, ...]
    weight_bits: int
    simulating = False
    applies = False
    norm: str | None = None

    def settle(self, weight_bits: int) -> None:
        """Take the range of weights; input and norm are set from outside."""
        self.weight_bits, self.grid, self.reads = weight_bits, None, ()

    @property
    def limit(self) -> int:
        """The largest absolute whole number of the weights: 127 of 8 bits, 63 of 7."""
        return int(2 ** (self.weight_bits - 1)) - 1

    def given(self, features: Tensor) -> Tensor:
        """The input on its grid."""
        on_grid: Tensor = self.reads[0](features) if self.applies else features
        return on_grid

    def used(self, weight: Tensor) -> Tensor:
        """The weights, rounded while simulating."""
        return rounded_weights(weight, self.limit) if self.simulating else weight


class QuantisedConv2d(_Simulating, nn.Conv2d):
    """A convolution of any groups; it shares the tensors of the one it takes the place of."""

    def __init__(self, layer: nn.Conv2d, weight_bits: int) -> None:
        nn.Conv2d.__init__(
            self,
            layer.in_channels,
            layer.out_channels,
            layer.kernel_size,  # type: ignore[arg-type]
            layer.stride,  # type: ignore[arg-type]
            layer.padding,  # type: ignore[arg-type]
            layer.dilation,  # type: ignore[arg-type]
            layer.groups,
            bias=False,
            device="meta",
        )
        self.weight, self.bias = layer.weight, layer.bias
        self.settle(weight_bits)

    def forward(self, features: Tensor) -> Tensor:
        """As ``nn.Conv2d``."""
        out: Tensor = self._conv_forward(self.given(features), self.used(self.weight), self.bias)
        return out


class QuantisedLinear(_Simulating, nn.Linear):
    """A dense layer; it shares the tensors of the one it takes the place of."""

    def __init__(self, layer: nn.Linear, weight_bits: int) -> None:
        nn.Linear.__init__(self, layer.in_features, layer.out_features, bias=False, device="meta")
        self.weight, self.bias = layer.weight, layer.bias
        self.settle(weight_bits)

    def forward(self, features: Tensor) -> Tensor:
        """As ``nn.Linear``."""
        return functional.linear(self.given(features), self.used(self.weight), self.bias)


QuantisedLayer = QuantisedConv2d | QuantisedLinear


def rounded_weights(weight: Tensor, limit: int) -> Tensor:
    """The weights (O, ...) on the grids of their output channels, gradients straight through."""
    zeros = torch.zeros(len(weight), dtype=torch.int32, device=weight.device)
    return torch.fake_quantize_per_channel_affine(weight, weight_scales(weight, limit), zeros, 0, -limit, limit)


def weight_scales(weight: Tensor, limit: int) -> Tensor:
    """The scale of each output channel (O,): its largest absolute weight becomes ``limit``.

    Weights of 7 bits are multiplied in pairs and added in 16 bits (``integers.py``): theirs are small enough for
    as many products there as the compiler likes to add.
    """
    weight = weight.detach()
    scales = weight.abs().flatten(1).amax(1) / limit
    if limit == _PAIRED_LIMIT:
        terms = _meeting(weight)
        most = PAIRED_SUM - terms.shape[1] / 2  # each may be rounded up
        for sign in (1, -1):
            scales = torch.maximum(scales, (sign * terms).clamp_min(0).sum(1).amax(0) / most)
    return scales.clamp_min(torch.finfo(torch.float32).tiny)


def _meeting(weight: Tensor) -> Tensor:
    """The weights (O, I, ...) whose products meet in a sum of 16 bits, (sums, terms, O)."""
    by_sum = weight.flatten(2).movedim(0, -1).movedim(0, -2) if weight.ndim > 2 else weight.T
    taps = by_sum.reshape(-1, len(weight))
    if weight.ndim == 4 and weight.shape[1] == 1:
        size = joined_rows((weight.shape[2], weight.shape[3])) * weight.shape[3]
        return functional.pad(taps, (0, 0, 0, -len(taps) % size)).reshape(-1, size, len(weight))
    groups, rest = divmod(len(taps), GROUP)
    return in_16_bits(taps, joined_groups(groups)) if not rest else taps[None, :1]


def has_integer_form(layer: nn.Module) -> bool:
    """Whether it has an integer form here: it computes what torch's own layer does, for subclasses may not."""
    if isinstance(layer, nn.Conv2d):
        plain = layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
        own = (type(layer).forward, type(layer)._conv_forward)
        return plain and own == (nn.Conv2d.forward, nn.Conv2d._conv_forward)
    return isinstance(layer, nn.Linear) and type(layer).forward == nn.Linear.forward
