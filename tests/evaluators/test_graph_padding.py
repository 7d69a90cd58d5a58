"""Padding that stands before a convolution, by whatever name, is the convolution's own."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from tvm.relax.analysis import post_order_visit

from evaluators.compile.compiler import compile_network
from evaluators.compile.export import export_network, import_program
from evaluators.compile.graph.prepare import prepare
from evaluators.compile.verify import verify
from evaluators.latency.host import HostDevice
from hw_profiles.profile import load_profile


class Padded(nn.Module):
    def __init__(self, widths: tuple[int, ...], mode: str = "constant", value: float | None = None) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 3, padding=1)
        self.pad = {"pad": widths, "mode": mode, "value": value}

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(functional.pad(x, **self.pad))


def operators(network: nn.Module) -> list[str]:
    module = prepare(import_program(export_network(network, (torch.zeros(1, 3, 9, 8),))), load_profile("x86-host"))
    names: list[str] = []
    post_order_visit(module["main"], lambda e: names.append(e.op.name) if hasattr(e, "op") else None)
    return names


@pytest.mark.parametrize("widths", [(0, 1, 0, 1), (2, 0, 1, 3), (0, 0, 0, 0)])
def test_zeros_around_an_image_are_folded(widths: tuple[int, ...]) -> None:
    assert "relax.nn.pad" not in operators(Padded(widths))


@pytest.mark.parametrize("network", [Padded((1, 1, 1, 1), "reflect"), Padded((1, 0, 1, 0), value=1.0)])
def test_other_padding_stays(network: nn.Module) -> None:
    assert "relax.nn.pad" in operators(network)


NETWORKS = {
    "uneven": Padded((0, 1, 2, 1)),
    "reflected": Padded((1, 1, 1, 1), "reflect"),
    "of ones": Padded((1, 0, 1, 0), value=1.0),
    "cropped": Padded((-1, 1, 0, 1)),
    "same": nn.Conv2d(3, 4, (4, 3), padding="same", dilation=2),
    "valid": nn.Conv2d(3, 4, 3, stride=2, padding="valid", bias=False),
}


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_padding_means_what_it_means_in_torch(network: nn.Module, tmp_path: Path) -> None:
    profile = load_profile("x86-host").with_threads(1)
    x = torch.randn((1, 3, 9, 8), generator=torch.Generator().manual_seed(0))
    library = compile_network(network, x, profile, tmp_path / "layer.so").library
    device = HostDevice(profile)
    assert verify(network, lambda batch: device.run(library, batch), x) < 1e-5
