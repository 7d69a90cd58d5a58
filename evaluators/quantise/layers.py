"""Layers that learn with simulated 8-bit weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from evaluators.quantise.grid import Grid


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
    """The scale of each output channel (O,): its largest absolute weight becomes ``limit``."""
    most = weight.detach().abs().flatten(1).amax(1)
    return most.clamp_min(torch.finfo(torch.float32).tiny * limit) / limit


def has_integer_form(layer: nn.Module) -> bool:
    """Whether it has an integer form here: it computes what torch's own layer does, for subclasses may not."""
    if isinstance(layer, nn.Conv2d):
        plain = layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
        own = (type(layer).forward, type(layer)._conv_forward)
        return plain and own == (nn.Conv2d.forward, nn.Conv2d._conv_forward)
    return isinstance(layer, nn.Linear) and type(layer).forward == nn.Linear.forward
