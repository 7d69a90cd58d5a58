"""Constant whole numbers as the floats they stand for, in torch and as one node of an ONNX file."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def dequantised(whole: Tensor, scale: Tensor) -> Tensor:
    """Whole numbers (O, ...) times a scale for each output channel (O,)."""
    floats: Tensor = _Dequantised.apply(whole, scale)  # type: ignore[no-untyped-call]
    return floats


def by_channel(values: Tensor, weight: Tensor) -> Tensor:
    """One value for each output channel of weights (O, ...), in the form that broadcasts."""
    return values.reshape(-1, *[1] * (weight.ndim - 1))


class _Dequantised(torch.autograd.Function):
    """DequantizeLinear of a constant (O, ...) with a scale for each output channel, zero points 0."""

    @staticmethod
    def forward(ctx: Any, whole: Tensor, scale: Tensor) -> Tensor:
        return whole.float() * by_channel(scale, whole)

    @staticmethod
    def symbolic(g: Any, whole: Any, scale: Any) -> Any:
        """The node."""
        return g.op("DequantizeLinear", whole, scale, axis_i=0)
