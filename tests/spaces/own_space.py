"""A user's space, as the documents describe it."""

import torch
from nni.mutable.shortcut import choice
from nni.nas.nn.pytorch import LayerChoice, ModelSpace, MutableConv2d, MutableLinear
from torch import nn


class Own(ModelSpace):
    def __init__(self, channels: int, classes: int):
        super().__init__()
        width = self.add_mutable(choice("width", [4, 8]))
        self.conv = MutableConv2d(channels, width, 3)
        self.pool = LayerChoice({"max": nn.MaxPool2d(2), "none": nn.Identity()}, label="pool")
        self.linear = MutableLinear(width, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.linear(self.pool(self.conv(images)).mean((2, 3)))


class Sized(ModelSpace):
    """Chooses its input size and, with one value, has a choice of no effect."""

    def __init__(self, image_size: int, **_):
        super().__init__()
        self.add_mutable(choice("resolution", [image_size // 2, image_size]))
        self.net = LayerChoice(
            {
                "linear": nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16, 10)),
                "conv": nn.Sequential(
                    MutableConv2d(1, choice("width", [8, 16]), 3),
                    nn.AdaptiveAvgPool2d(1),
                    nn.Flatten(),
                    MutableLinear(choice("width", [8, 16]), 10),
                ),
            },
            label="net",
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.net(images)


class NeedsNumbers(ModelSpace):
    """Cannot be built on the meta device."""

    def __init__(self, classes: int):
        super().__init__()
        kernel = self.add_mutable(choice("kernel", [1, 3]))
        self.scale = float(torch.linspace(0, 1, 3)[1])
        self.conv = MutableConv2d(1, classes, kernel)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.conv(images).mean((2, 3)) * self.scale


class Raises(ModelSpace):
    def __init__(self):
        super().__init__()
        raise KeyError("no such layer")


class Greedy(ModelSpace):
    def __init__(self, channels: int, secret: int):
        super().__init__()


class Choiceless(ModelSpace):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 2)


class Unlabelled(ModelSpace):
    def __init__(self):
        super().__init__()
        self.layer = LayerChoice([nn.ReLU(), nn.Identity()])


class WrongShape(Own):
    def __init__(self):
        super().__init__(1, 3)


class WrongForward(Own):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images @ torch.zeros(5, 5)


class NotASpace(nn.Module):
    pass
