"""The 8-bit grid of an activation: where its range comes from, and how it is simulated."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

LEVELS = 255
"""The highest of the whole numbers 0..255 that an activation is held as."""
LEAST_RANGE = 1e-6
"""An activation that is constant still gets a grid."""
Mode = Literal["off", "watching", "simulating", "fixed"]


class Grid(nn.Module):
    """One tensor's grid: value = scale * (whole - zero point), whole in 0..255 (Jacob et al., 2018).

    ``off`` it passes the tensor on; ``watching`` it also takes the mean of the batches' extremes as the range,
    which always holds 0, so that padding is exact; ``simulating`` it rounds and clips. The scale is then learned
    by the gradient of LSQ (Esser et al., 2020, arXiv:1902.08153), on its logarithm (Jain et al., 2020,
    arXiv:1903.08066), so that it stays positive at any learning rate; the zero point stays as calibrated.
    ``fixed`` it computes as ONNX's QuantizeLinear and DequantizeLinear do, and is exported as these.
    """

    log_scale: nn.Parameter
    zero_point: Tensor
    _scale: Tensor
    _whole_zero: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.register_buffer("zero_point", torch.zeros((), dtype=torch.int32))
        self.mode: Mode = "off"
        self._lows: list[float] = []
        self._highs: list[float] = []

    def watch(self) -> None:
        """Begin to look at what passes."""
        self.mode, self._lows, self._highs = "watching", [], []

    def simulate(self) -> None:
        """Round from now on, in the range that was watched (or as it was, where nothing passed)."""
        self.mode = "simulating"
        if not self._lows:
            return
        low = min(0.0, sum(self._lows) / len(self._lows))
        high = max(0.0, sum(self._highs) / len(self._highs))
        scale = max(high - low, LEAST_RANGE) / LEVELS
        with torch.no_grad():
            self.log_scale.fill_(math.log(scale))
            self.zero_point.fill_(min(max(round(-low / scale), 0), LEVELS))
        self._lows, self._highs = [], []

    def fix(self) -> None:
        """Scale and zero point as they are delivered, from now on."""
        self.mode = "fixed"
        self.register_buffer("_scale", self.log_scale.detach().exp(), persistent=False)
        self.register_buffer("_whole_zero", self.zero_point.to(torch.uint8), persistent=False)

    def forward(self, values: Tensor) -> Tensor:
        """The tensor as its grid holds it, in the shape and type that it came in."""
        if self.mode == "fixed":
            exact: Tensor = _Exact.apply(values, self._scale, self._whole_zero)  # type: ignore[no-untyped-call]
            return exact
        if self.mode == "simulating":
            rounded: Tensor = _Rounded.apply(values, self.log_scale, self.zero_point)  # type: ignore[no-untyped-call]
            return rounded
        if self.mode == "watching":
            low, high = torch.aminmax(values.detach())
            self._lows.append(float(low))
            self._highs.append(float(high))
        return values


class _Rounded(torch.autograd.Function):
    """A tensor on its grid, with the straight-through gradient and that of LSQ for the logarithm of the scale."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, log_scale: Tensor, zero_point: Tensor) -> Tensor:
        scale = log_scale.detach().exp()
        ctx.save_for_backward(values, scale, zero_point)
        return torch.fake_quantize_per_tensor_affine(values.detach(), scale, zero_point, 0, LEVELS)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        values, scale, zero_point = ctx.saved_tensors
        rounded = torch.fake_quantize_per_tensor_affine(values, scale, zero_point, 0, LEVELS)
        inside = (values >= -scale * (zero_point + 0.5)) & (values <= scale * (LEVELS + 0.5 - zero_point))
        passed = gradient * inside
        by_scale = (gradient * rounded).sum() - (passed * values).sum()
        return passed, by_scale / math.sqrt(values.numel() * LEVELS), None


class _Exact(torch.autograd.Function):
    """QuantizeLinear and DequantizeLinear with one scale."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
        whole = (values / scale).round().add(zero).clamp(0, LEVELS)
        return (whole - zero) * scale

    @staticmethod
    def symbolic(g: Any, values: Any, scale: Any, zero: Any) -> Any:
        """The two nodes."""
        return g.op("DequantizeLinear", g.op("QuantizeLinear", values, scale, zero), scale, zero)
