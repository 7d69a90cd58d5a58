"""Weight gradients of depthwise convolutions on maps smaller than their kernels, where torch is slow.

On a CPU torch then leaves its fast kernels (2.13, AVX2: 18 ms for 32 maps of 384 x 4 x 4 under kernels of 5 x 5,
whose forward pass takes 0.5 ms). Here a weight's gradient is the sum of products over the places where it meets
the map, which are few.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional, grad

Pair = tuple[int, int]


@contextmanager
def quick_depthwise(network: nn.Module) -> Iterator[None]:
    """A forward pass inside is one whose depthwise convolutions have quick gradients; the values are torch's."""
    changed = [module for module in network.modules() if _is_plain_depthwise(module)]
    for module in changed:
        module._conv_forward = partial(_convolved, module)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for module in changed:
            del module._conv_forward


def _is_plain_depthwise(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    return (
        isinstance(module, nn.Conv2d)
        and type(module)._conv_forward is nn.Conv2d._conv_forward
        and module.groups == module.in_channels == module.out_channels > 1
        and module.dilation == (1, 1)
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
    )


def _convolved(module: nn.Conv2d, images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    small = any(size < kernel for size, kernel in zip(images.shape[2:], module.kernel_size, strict=True))
    if not (small and images.device.type == "cpu" and torch.is_grad_enabled()):
        plain: Tensor = nn.Conv2d._conv_forward(module, images, weight, bias)
        return plain
    out: Tensor = _Depthwise.apply(images, weight, module.stride, module.padding)  # type: ignore[no-untyped-call]
    return out if bias is None else out + bias[:, None, None]


class _Depthwise(torch.autograd.Function):
    """(N, C, H, W), (C, 1, K, L), stride, padding -> (N, C, H', W')."""

    @staticmethod
    def forward(context: Any, images: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Tensor:
        context.save_for_backward(images, weight)
        context.stride, context.padding = stride, padding
        return functional.conv2d(images, weight, None, stride, padding, groups=len(weight))

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        images, weight = context.saved_tensors
        stride, padding = context.stride, context.padding
        of_images = of_weight = None
        if context.needs_input_grad[0]:
            of_images = grad.conv2d_input(  # type: ignore[no-untyped-call]
                images.shape, weight, gradient, stride, padding, groups=len(weight)
            )
        if context.needs_input_grad[1]:
            of_weight = _of_weight(images, gradient, weight.shape, stride, padding)
        return of_images, of_weight, None, None


def _of_weight(images: Tensor, gradient: Tensor, shape: torch.Size, stride: Pair, padding: Pair) -> Tensor:
    """The gradient of the weight, (C, 1, K, L); zero where a weight meets nothing but padding."""
    found = images.new_zeros(shape)
    sizes = zip(images.shape[2:], gradient.shape[2:], shape[2:], stride, padding, strict=True)
    rows, columns = ([_met(at, *each) for at in range(each[2])] for each in sizes)
    for y, row in enumerate(rows):
        for x, column in enumerate(columns):
            if row is None or column is None:
                continue
            met = images[:, :, row[0], column[0]] * gradient[:, :, row[1], column[1]]
            found[:, 0, y, x] = met.sum((0, 2, 3))
    return found


def _met(at: int, size: int, outputs: int, kernel: int, stride: int, padding: int) -> tuple[slice, slice] | None:
    """Along one axis, the places of the map that the kernel's weight ``at`` meets, and the outputs they go to."""
    offset = at - padding
    first = max(0, -(offset // stride))  # the first output whose place is not before the map
    last = min(outputs - 1, (size - 1 - offset) // stride)
    if last < first:
        return None
    start = first * stride + offset
    return slice(start, start + (last - first) * stride + 1, stride), slice(first, last + 1)
