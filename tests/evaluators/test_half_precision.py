"""Networks of float16 and bfloat16: computed in single precision, float16 outside where the network has it."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from evaluators.compile.compiler import compile_module, compile_network
from evaluators.compile.importers.network_file import open_network
from hw_profiles.profile import load_profile
from results.bundle.runner import CompiledStudent


class Small(nn.Module):
    """A convolution, norms, a dense layer and a softmax, with a cast of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 10, 3), nn.BatchNorm2d(10)
        self.dense, self.rows = nn.Linear(10, 7), nn.LayerNorm(7)

    def forward(self, x: Tensor) -> Tensor:
        image = self.norm(self.convolution(x)).relu()
        return self.rows(self.dense(image.float().mean((2, 3)).to(x.dtype))).softmax(-1)


@pytest.fixture
def small() -> nn.Module:
    torch.manual_seed(0)
    return Small().eval()


IMAGES = torch.randn(2, 3, 9, 8, generator=torch.Generator().manual_seed(0))
PROFILE = load_profile("x86-host").with_threads(1)


@pytest.mark.parametrize(("dtype", "outside"), [(torch.float16, np.float16), (torch.bfloat16, np.float32)])
def test_networks(dtype: torch.dtype, outside: type, small: nn.Module, tmp_path: Path) -> None:
    network, x = small.to(dtype), IMAGES.to(dtype)
    compiled = compile_network(network, x, PROFILE, tmp_path / "network.so")
    given = CompiledStudent(compiled.library, 1)(x.float().numpy().astype(outside))
    assert given.dtype == outside
    with torch.no_grad():
        single = small.float()(x.float()).numpy()
    assert np.abs(given - single).max() < (1e-3 if outside is np.float16 else 1e-5) * single.max()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_programs(dtype: torch.dtype, small: nn.Module, tmp_path: Path) -> None:
    torch.export.save(torch.export.export(small.to(dtype), (IMAGES.to(dtype),)), tmp_path / "small.pt2")
    check_file(tmp_path / "small.pt2")


def test_onnx_files(small: nn.Module, tmp_path: Path) -> None:
    torch.onnx.export(small.half(), (IMAGES.half(),), tmp_path / "small.onnx", dynamo=False, opset_version=17)
    model = onnx.load(tmp_path / "small.onnx")
    assert model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT16
    check_file(tmp_path / "small.onnx")


def check_file(path: Path) -> None:
    file = open_network(path, {})
    x = IMAGES.numpy().astype(file.inputs[0].dtype)
    compile_module(file.module(), PROFILE, path.with_suffix(".so"))
    given = CompiledStudent(path.with_suffix(".so"), 1)(x)
    (expected,) = file.expected((x,))
    assert given.dtype == expected.dtype == x.dtype
    assert np.abs(given.astype(np.float32) - expected).max() < 1e-3 * expected.max()
