"""The integer network that a simulated one becomes: whole numbers and scales, as they stand in its QDQ ONNX file.

Weights are int8 with a scale for each output channel, biases int32 in steps of input times weight scale, inputs of
layers uint8. Batch norms are gone: they change only scales and biases, never a whole number of the weights.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from evaluators.quantise.dequantised import by_channel, dequantised
from evaluators.quantise.layers import QuantisedConv2d, QuantisedLayer, rounded_weights, weight_scales
from evaluators.quantise.prepare import grids, quantised_layers
from evaluators.quantise.replace import replace_layer
from evaluators.quantise.weights import RoundedEmbedding, RoundedLinear, stored

_MOST_BIAS = 2.0**30
"""A bias that would be larger in its steps gets larger ones: int32 has to hold it, and the sum it is added to."""


def delivered(network: nn.Module) -> nn.Module:
    """The network to compile and to judge, on the CPU: a prepared one in whole numbers, any other as it is.

    The grids must have been calibrated.
    """
    if not quantised_layers(network):
        return network
    made = copy.deepcopy(network).cpu().eval().requires_grad_(False)
    for grid in grids(made):
        grid.fix()
    for name, layer in quantised_layers(made).items():
        if isinstance(layer, RoundedLinear | RoundedEmbedding):
            replace_layer(made, name, stored(layer))
            continue
        norm = made.get_submodule(layer.norm) if layer.norm else None
        replace_layer(made, name, IntegerLayer(layer, norm))
        if layer.norm:
            replace_layer(made, layer.norm, nn.Identity())
    return made


class IntegerLayer(nn.Module):
    """A convolution or dense layer of whole numbers; ``grid`` is as in the simulated one."""

    weight: Tensor
    weight_scale: Tensor
    bias: Tensor
    bias_scale: Tensor

    def __init__(self, layer: QuantisedLayer, norm: nn.Module | None) -> None:
        super().__init__()
        self.grid, self._reads, self._applies = layer.grid, layer.reads, layer.applies
        weight, scale, bias = _folded(layer, norm)
        steps = scale * layer.reads[0].log_scale.exp()
        least = (bias.abs() / _MOST_BIAS).clamp_min(torch.finfo(torch.float32).tiny)
        coarser = torch.maximum(steps, least) / steps
        self.register_buffer("weight", (weight / by_channel(coarser, weight)).round().to(torch.int8))
        self.register_buffer("weight_scale", scale * coarser)
        self.register_buffer("bias_scale", steps * coarser)
        self.register_buffer("bias", (bias / (steps * coarser)).round().to(torch.int32))
        self._options = _options(layer)

    def forward(self, features: Tensor) -> Tensor:
        """(N, I, H, W) or (..., I) float32, its grid's values, to the layer's output."""
        features = self._reads[0](features) if self._applies else features
        weight = dequantised(self.weight, self.weight_scale)
        bias = dequantised(self.bias, self.bias_scale)
        if self._options is None:
            return functional.linear(features, weight, bias)
        return functional.conv2d(features, weight, bias, **self._options)


def _folded(layer: QuantisedLayer, norm: nn.Module | None) -> tuple[Tensor, Tensor, Tensor]:
    """Whole weights (O, ...) as floats, positive scales (O,) and bias (O,), the batch norm behind in them."""
    scale = weight_scales(layer.weight, layer.limit)
    weight = (rounded_weights(layer.weight, layer.limit) / by_channel(scale, layer.weight)).round()
    bias = torch.zeros_like(scale) if layer.bias is None else layer.bias.detach().clone()
    if not isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
        return weight, scale, bias
    assert norm.running_mean is not None
    assert norm.running_var is not None
    factor = (norm.running_var + norm.eps).rsqrt()
    if norm.affine:
        factor = factor * norm.weight
    bias = (bias - norm.running_mean) * factor + (norm.bias if norm.affine else 0.0)
    sign = torch.where(factor < 0, -1.0, 1.0)
    return (
        weight * by_channel(sign, weight),
        (scale * factor.abs()).clamp_min(torch.finfo(torch.float32).tiny),
        bias,
    )


def _options(layer: QuantisedLayer) -> dict[str, Any] | None:
    """The keywords of a convolution; None for a dense layer."""
    if not isinstance(layer, QuantisedConv2d):
        return None
    return {name: getattr(layer, name) for name in ("stride", "padding", "dilation", "groups")}
