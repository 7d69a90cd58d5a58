"""Programs of torch.export through the compiler, against torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from small_networks import Encoder, Pooled
from torch import Tensor, nn

from evaluators.compile.compiler import compile_module
from evaluators.compile.importers.bounds import index_bounds
from evaluators.compile.importers.network_file import open_network
from evaluators.compile.verify import compare
from evaluators.exported.program import Program
from evaluators.latency.host import HostDevice
from hw_profiles.profile import load_profile
from results.bundle.runner import as_tuple
from understudy import CompileError


class Modes(nn.Module):
    """Parts in other modes, an optional input left out, a weight used twice, whole numbers in and out."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor, unused: Tensor | None, count: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            angle = torch.sin(x)
        return self.second(self.first(angle) * count.to(torch.float32)), count + 1


def saved(network: nn.Module, inputs: tuple[Any, ...], path: Path, **options: Any) -> Path:
    with torch.no_grad():
        torch.export.save(torch.export.export(network.eval(), inputs, **options), path)
    return path


@pytest.mark.parametrize("network", [Encoder(), Pooled()], ids=["encoder", "pooled"])
def test_agrees_with_the_network_and_its_twin(network: Any, tmp_path: Path) -> None:
    inputs = network.example()
    file = open_network(saved(network, inputs, tmp_path / "network.pt2"), {})
    arrays = tuple(each.numpy() for each in inputs)
    compiled = compile_module(file.module(), load_profile("x86-host").with_threads(1), tmp_path / "network.so")
    found = as_tuple(HostDevice(load_profile("x86-host").with_threads(1)).run(compiled.library, arrays))
    assert compare(tuple(each.detach().numpy() for each in as_tuple(network(*inputs))), found) < 1e-5
    file.write_onnx(tmp_path / "twin.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "twin.onnx", providers=["CPUExecutionProvider"])
    assert [each.name for each in session.get_inputs()] == [each.name for each in file.inputs]
    names = [each.name for each in file.inputs]
    assert compare(tuple(session.run(None, dict(zip(names, arrays, strict=True)))), found) < 1e-5


def test_ids_are_drawn_from_the_rows_of_the_embedding(tmp_path: Path) -> None:
    network = Encoder(vocabulary=60)
    file = open_network(saved(network, network.example(), tmp_path / "network.pt2"), {})
    assert index_bounds(file.module()) == (60, None)


def test_modes_optional_inputs_and_shared_weights(tmp_path: Path) -> None:
    network, inputs = Modes(), (torch.randn(2, 4), None, torch.tensor([3, 5, 1, 2]))
    program = Program(saved(network, inputs, tmp_path / "network.pt2"))
    assert [each.name for each in program.inputs] == ["x", "count"]
    assert set(program.state_dict()) == set(network.state_dict())
    for found, expected in zip(program(inputs[0], inputs[2]), network(*inputs), strict=True):
        torch.testing.assert_close(found, expected)


def test_free_sizes(tmp_path: Path) -> None:
    free = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    path = saved(nn.Softmax(-1), (torch.randn(3, 5, 4),), tmp_path / "network.pt2", dynamic_shapes=(free,))
    with pytest.raises(CompileError, match=r"input input open \(\?x\?x4\)"):
        open_network(path, {})
    assert open_network(path, {"": (1, 7, 4)}).inputs[0].shape == (1, 7, 4)


def test_what_is_no_program_or_may_not_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "network.pt2").write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(CompileError, match=r"torch\.export\.save"):
        open_network(tmp_path / "network.pt2", {})


def test_an_input_that_the_program_cannot_take_is_its_own_error(tmp_path: Path) -> None:
    file = open_network(saved(nn.Embedding(4, 2), (torch.tensor([[1]]),), tmp_path / "network.pt2"), {})
    with pytest.raises(CompileError, match="torch cannot run the program itself"):
        file.expected((np.array([[9]]),))
