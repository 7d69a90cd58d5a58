"""The GPU's kernels as CUDA, their threads emulated on a processor: what the lowering makes of the schedules."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from tvm.tirx import PrimFunc

from evaluators.compile.compiler import lower_kernels
from evaluators.compile.cuda import tensor_cores
from evaluators.compile.cuda.gemm_tiles import Tile
from evaluators.compile.export import import_network
from evaluators.compile.rules.apply import rule_of
from tests.emulation.gpu import Kernels, compiler
from tests.evaluators.test_cuda_rules import JETSON, Block, outcome, random_inputs

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C++ compiler")


class Uneven(nn.Module):
    """Sums whose columns no power of two divides, long enough for parts; attention with a causal mask."""

    def __init__(self) -> None:
        super().__init__()
        self.few = nn.Conv2d(8, 8, 5, padding=2)
        self.attended = nn.ModuleList(nn.Linear(8, 16) for _ in range(3))
        self.wide = nn.Linear(16, 1280)
        self.classes = nn.Linear(1280, 100)
        self.more = nn.Linear(1280, 1001)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.few(x))
        tokens = x.flatten(2).transpose(1, 2)[:, None]
        query, key, value = (layer(tokens) for layer in self.attended)
        heads = nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        pooled = nn.functional.hardswish(self.wide(heads[:, 0].mean(1)))
        return torch.cat([self.classes(pooled), torch.sigmoid(self.more(pooled))], 1)


def disagreement(kernels: Kernels, number: int, plain: PrimFunc) -> float:
    """The largest difference to the kernel in loops, blocks and threads up and down, relative to its output."""
    inputs = random_inputs(plain)
    expected = outcome(plain, inputs)
    got = [kernels.run(number, inputs, down).astype(np.float32) for down in (False, True)]
    return max(np.abs(each - expected).max() for each in got) / np.abs(expected).max()


@pytest.mark.parametrize(("network", "shape"), [(Block, (1, 3, 20, 22)), (Uneven, (1, 8, 9, 9))])
def test_kernels_compute_on_threads_what_they_do_in_loops(
    network: type[nn.Module], shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    plain, scheduled = lower_kernels(import_network(network().eval(), torch.randn(shape)), JETSON)
    found = {name.name_hint: each for name, each in scheduled.functions_items() if isinstance(each, PrimFunc)}
    kernels = Kernels(list(found.values()), JETSON)
    differences = {name: disagreement(kernels, number, plain[name]) for number, name in enumerate(found)}
    assert max(differences.values()) <= 2e-3, differences
    assert {"tensor_cores", "columns"} <= {rule_of(each) for each in found.values()}


def test_products_compute_in_slices_and_with_the_next_tile_fetched_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(24, 20, 3, padding=1), nn.Hardswish()).eval()
    found = []
    for tile in (Tile(2, 1, 1, 2, 2, 4), Tile(1, 2, 2, 1, 2, 1, True), Tile(2, 2, 1, 1, 1, 2, True)):
        monkeypatch.setattr(tensor_cores, "tile_of", lambda *_, tile=tile: tile)
        plain, scheduled = lower_kernels(import_network(network, torch.randn(1, 24, 9, 7)), JETSON)
        found += [
            (scheduled[name.name_hint], each)
            for name, each in plain.functions_items()
            if "conv2d" in name.name_hint
        ]
    kernels = Kernels([scheduled for scheduled, _ in found], JETSON)
    assert all(disagreement(kernels, number, plain) <= 2e-3 for number, (_, plain) in enumerate(found))
