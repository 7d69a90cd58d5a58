"""The rules' code for 64-bit ARM, run on an emulated machine (``make emulator``)."""

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from hw_profiles.profile import load_profile

sys.path.insert(0, str(Path(__file__).parents[2]))
from test_quantised import inverted_residual

from tests.emulation.machine import add_case, add_file, emulated_python, run_cases


class Attention(nn.Module):
    """Self-attention of four heads without projections."""

    def forward(self, x: Tensor) -> Tensor:
        heads = x.unflatten(2, (4, -1)).transpose(1, 2)
        return nn.functional.scaled_dot_product_attention(heads, heads, heads).transpose(1, 2).flatten(2)


LAYERS = {
    "pointwise": (nn.Conv2d(19, 37, 1), (1, 19, 9, 7)),
    "dense_3x3": (nn.Conv2d(17, 33, 3, padding=1), (1, 17, 13, 11)),
    "same_3x3_wide": (nn.Conv2d(64, 64, 3, padding=1), (1, 64, 14, 14)),
    "stem_7x7": (nn.Conv2d(3, 16, 7, 2, padding=3), (1, 3, 31, 29)),
    "depthwise_5x5": (nn.Conv2d(26, 26, 5, 2, padding=2, groups=26), (2, 26, 15, 17)),
    "grouped": (nn.Conv2d(12, 18, 3, groups=3), (1, 12, 9, 9)),
    "line": (nn.Conv1d(8, 24, 10, 5), (1, 8, 203)),
    "transposed": (nn.ConvTranspose2d(9, 7, 3, 2, padding=1), (1, 9, 8, 6)),
    "rows": (nn.Linear(50, 70), (5, 50)),
    "vector": (nn.Linear(130, 33), (1, 130)),
    "layer_norm": (nn.LayerNorm(45), (7, 45)),
    "group_norm": (nn.GroupNorm(3, 24), (1, 24, 7, 5)),
    "softmax": (nn.Softmax(-1), (9, 41)),
    "gelu": (nn.GELU(), (7, 33)),
    "silu": (nn.SiLU(), (7, 33)),
    "tanh": (nn.Tanh(), (7, 33)),
    "attention": (Attention(), (1, 19, 32)),
    "max_pool": (nn.MaxPool2d(3, 2, 1), (1, 13, 15, 15)),
    "average_pool": (nn.AvgPool2d(2), (1, 13, 14, 14)),
    "global_pool": (nn.AdaptiveAvgPool2d(1), (1, 40, 7, 7)),
    "upsample": (nn.Upsample(scale_factor=2, mode="bilinear"), (1, 12, 7, 7)),
    "shuffle": (nn.ChannelShuffle(3), (1, 12, 7, 7)),
}


@pytest.mark.timeout(900)
@pytest.mark.skipif(emulated_python() is None, reason="no emulated machine: `make emulator` makes one (as root)")
def test_every_kind_of_kernel_gives_torchs_result_on_emulated_arm64(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    for name, (layer, shape) in LAYERS.items():
        x = torch.randn(shape, generator=generator)
        for board in ("rpi4", "rpi5"):
            add_case(tmp_path, f"{name}_{board}", layer, (x,), load_profile(board).with_threads(2))
    for board in ("rpi4", "rpi5"):
        file = inverted_residual("uint8").save(tmp_path / "quantised.onnx")
        add_file(tmp_path, f"quantised_{board}", file, load_profile(board).with_threads(2))
    found = run_cases(tmp_path, timeout_s=600)
    assert len(found) == 2 * len(LAYERS) + 2
    steps = [found.pop(f"quantised_{board}") for board in ("rpi4", "rpi5")]
    assert max(steps) < 0.03  # two steps of the output's grid
    assert {name: difference for name, difference in found.items() if not difference < 1e-5} == {}
