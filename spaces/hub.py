"""Spaces of NNI's hub, fitted to the task's channels, image size and number of classes."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from spaces.nni_adapter import MutableConv2d, NniSpace, hub_class
from understudy import SpaceError, unknown_name

HUB_SPACES = ("AutoFormer", "MobileNetV3Space", "NasBench201", "ProxylessNAS", "ShuffleNetSpace")
"""Those that build, run and export. The others fix their classes to 10 or 1000 (DARTS, ENAS, NASNet, PNAS,
AmoebaNet) or have choices that exclude one another (NasBench101)."""

_TRANSFORMER = "AutoFormer"


def hub_space(name: str, *, channels: int, image_size: int, classes: int) -> NniSpace:
    """The hub's space of that name; raises ``SpaceError`` for another, or when it cannot take the images."""
    if name not in HUB_SPACES:
        raise SpaceError(unknown_name("NNI hub space", name, HUB_SPACES))
    space = hub_class(name)
    if name == _TRANSFORMER:
        sizes = {"img_size": image_size, "patch_size": _patch(image_size), "in_channels": channels}
        make = partial(space, num_labels=classes, **sizes)
    else:
        make = partial(_with_channels, partial(space, num_labels=classes), channels)
    return NniSpace(f"nni:{name}", make, channels=channels, image_size=image_size, classes=classes)


def _patch(image_size: int) -> int:
    """The largest patch that tiles the image at least 8 times each way."""
    for patch in (16, 8, 4, 2):
        if image_size % patch == 0 and image_size // patch >= 8:
            return patch
    raise SpaceError(
        f"nni:{_TRANSFORMER} needs an even image size of at least 16 pixels (--image-size), but got {image_size}"
    )


def _with_channels(make: partial[nn.Module], channels: int) -> nn.Module:
    """The network with a first convolution for ``channels`` inputs (the hub's take 3); a space as it is."""
    network = make()
    name, first = next((name, module) for name, module in network.named_modules() if isinstance(module, nn.Conv2d))
    if first.in_channels != channels and not isinstance(first, MutableConv2d):
        owner, _, attribute = name.rpartition(".")
        with torch.device(first.weight.device):
            fitted = nn.Conv2d(
                channels,
                first.out_channels,
                first.kernel_size,  # type: ignore[arg-type]
                first.stride,  # type: ignore[arg-type]
                first.padding,  # type: ignore[arg-type]
                bias=first.bias is not None,
            )
        setattr(network.get_submodule(owner), attribute, fitted)
    return network
