from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from distiller_contract import ConvNet
from torch import nn

from evaluators.onnx_twin import check_onnx, export_onnx
from understudy import CompileError


@pytest.fixture
def network():
    torch.manual_seed(0)
    made = ConvNet(1, 8, 10)
    for _ in range(3):
        made(torch.randn(16, 1, 16, 16))
    return made


def test_the_file_agrees_for_any_batch_size(network, tmp_path):
    path = tmp_path / "student.onnx"
    export_onnx(network, torch.randn(1, 1, 16, 16), path)
    for size in (1, 7):
        assert check_onnx(path, network, torch.randn(size, 1, 16, 16)) < 1e-5


def test_one_valid_file_with_batch_norm_folded_and_its_facts(network, tmp_path):
    path = tmp_path / "student.onnx"
    export_onnx(network, torch.randn(1, 1, 16, 16), path, metadata={"labels": '["a", "b"]'})
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert [file.name for file in tmp_path.iterdir()] == ["student.onnx"]
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert session.get_modelmeta().custom_metadata_map == {"labels": '["a", "b"]'}
    assert session.get_inputs()[0].shape == ["batch", 1, 16, 16]


def test_a_file_of_other_weights_is_refused(network, tmp_path):
    export_onnx(ConvNet(1, 8, 10), torch.randn(1, 1, 16, 16), tmp_path / "other.onnx")
    with pytest.raises(CompileError, match="off from torch by"):
        check_onnx(tmp_path / "other.onnx", network, torch.randn(2, 1, 16, 16))


def test_a_damaged_or_missing_file_is_refused(network, tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"not onnx")
    for name in ("bad.onnx", "none.onnx"):
        with pytest.raises(CompileError, match=f"cannot run .*{name}"):
            check_onnx(tmp_path / name, network, torch.randn(2, 1, 16, 16))


def test_a_network_that_cannot_be_exported_is_refused(tmp_path):
    class Foreign(nn.Module):
        def forward(self, images):
            return torch.linalg.eigvals(images).real.flatten(1)

    with pytest.raises(CompileError, match="cannot be exported to ONNX"):
        export_onnx(Foreign(), torch.randn(1, 1, 4, 4), tmp_path / "student.onnx")
    assert not list(tmp_path.iterdir())


def test_a_difference_of_nan_is_a_difference(network, tmp_path):
    export_onnx(network, torch.randn(1, 1, 16, 16), tmp_path / "student.onnx")
    inputs = torch.from_numpy(np.full((1, 1, 16, 16), np.nan, np.float32))
    with pytest.raises(CompileError, match="off from torch by nan"):
        check_onnx(tmp_path / "student.onnx", network, inputs)
