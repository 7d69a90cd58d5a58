"""Quick gradients of depthwise convolutions are those of torch."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from evaluators.distill.depthwise import quick_depthwise


def gradients(conv: nn.Conv2d, images: torch.Tensor) -> list[torch.Tensor]:
    conv.zero_grad()
    images = images.clone().requires_grad_()
    out = conv(images)
    out.square().sum().backward()
    return [out.detach(), images.grad, *(parameter.grad for parameter in conv.parameters())]


@pytest.mark.parametrize(
    ("shape", "kernel", "stride", "padding"),
    [
        ((4, 4), 5, 1, 2),
        ((4, 4), 7, 2, 3),
        ((2, 2), 5, 2, 2),
        ((1, 1), 3, 1, 1),
        ((3, 6), (5, 3), (2, 1), (2, 0)),
        ((1, 9), (3, 7), (1, 3), (2, 5)),
    ],
)
@pytest.mark.parametrize("bias", [True, False])
def test_gradients_are_those_of_torch(shape, kernel, stride, padding, bias):
    torch.manual_seed(0)
    conv = nn.Conv2d(6, 6, kernel, stride, padding, groups=6, bias=bias).to(memory_format=torch.channels_last)
    images = torch.randn(3, 6, *shape).to(memory_format=torch.channels_last)
    expected = gradients(conv, images)
    with quick_depthwise(conv):
        found = gradients(conv, images)
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)


def test_it_is_taken_where_torch_is_slow_and_nowhere_else():
    convs = {
        "small map": nn.Conv2d(4, 4, 5, padding=2, groups=4),
        "large map": nn.Conv2d(4, 4, 3, padding=1, groups=4),
        "not depthwise": nn.Conv2d(4, 4, 5, padding=2),
    }
    images, network = torch.randn(2, 4, 4, 4), nn.ModuleDict(convs)
    with quick_depthwise(network):
        first = {name: conv(images).grad_fn.next_functions[0][0] for name, conv in convs.items()}
        with torch.no_grad():
            assert convs["small map"](images).grad_fn is None
    assert [name for name, function in first.items() if "Depthwise" in type(function).__name__] == ["small map"]
    assert not any("_conv_forward" in vars(conv) for conv in convs.values())
