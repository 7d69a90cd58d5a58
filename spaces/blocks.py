"""Layers that the spaces share; every size may be a number or an NNI mutable expression."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from spaces.nni_adapter import LayerChoice, MutableBatchNorm2d, MutableConv2d, MutableLinear

Size = Any
"""A number, or an NNI expression of choices that gives one."""
EMBEDDING_STD = 0.02
"""Of tables of tokens and places before they are taught, as BERT's (Devlin et al., 2019)."""


def activation(label: str) -> nn.Module:
    """ReLU or hard-swish (Howard et al., 2019, arXiv:1905.02244), chosen under ``label``."""
    chosen: nn.Module = LayerChoice({"relu": nn.ReLU(), "hardswish": nn.Hardswish()}, label=label)
    return chosen


def conv_norm(
    inputs: Size, outputs: Size, kernel: Size, *, stride: int = 1, groups: Size = 1, act: nn.Module | None = None
) -> nn.Sequential:
    """Convolution (same padding, odd kernel), batch norm and, if given, an activation."""
    padding = kernel // 2
    conv = MutableConv2d(inputs, outputs, kernel, stride=stride, padding=padding, groups=groups, bias=False)
    layers = OrderedDict[str, nn.Module](conv=conv, norm=MutableBatchNorm2d(outputs))
    if act is not None:
        layers["act"] = act
    return nn.Sequential(layers)


class SqueezeExcite(nn.Module):
    """Channel gates from globally pooled features (Hu et al., 2018, arXiv:1709.01507).

    (N, channels, H, W) -> the same shape; hard-sigmoid gates as in MobileNetV3.
    """

    def __init__(self, channels: Size, reduced: Size) -> None:
        super().__init__()
        self.reduce = MutableConv2d(channels, reduced, 1)
        self.act = nn.ReLU()
        self.expand = MutableConv2d(reduced, channels, 1)
        self.gate = nn.Hardsigmoid()

    def forward(self, features: Tensor) -> Tensor:
        pooled = features.mean((2, 3), keepdim=True)
        gates: Tensor = self.gate(self.expand(self.act(self.reduce(pooled))))
        return features * gates


class Head(nn.Module):
    """Global average pool, then a linear classifier: (N, channels, H, W) -> (N, classes)."""

    def __init__(self, channels: Size, classes: int) -> None:
        super().__init__()
        self.linear = MutableLinear(channels, classes)

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.linear(features.mean((2, 3)))
        return logits


def draw_seed() -> int:
    """A seed from torch's generator: what is constructed next cannot change the weights drawn with it."""
    return int(torch.randint(2**62, (), device="cpu"))


def initialise(network: nn.Module, seed: int) -> None:
    """Weights by He et al. (2015, arXiv:1502.01852), fan-out for convolutions; biases 0; tables ``EMBEDDING_STD``.

    Equal networks get equal weights from equal seeds. Tensors on the meta device are passed over.
    """
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and not module.weight.is_meta:
            fan_out = module.out_channels * math.prod(module.kernel_size) / module.groups
            nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out), generator=generator)
        elif isinstance(module, nn.Linear) and not module.weight.is_meta:
            nn.init.normal_(module.weight, std=math.sqrt(1 / module.in_features), generator=generator)
        elif isinstance(module, nn.Embedding) and not module.weight.is_meta:
            nn.init.normal_(module.weight, std=EMBEDDING_STD, generator=generator)
            continue
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
