"""What the compiler says when it cannot."""

from pathlib import Path

import numpy as np
import pytest
import torch
import tvm
from torch import Tensor, nn

from evaluators.compile.compiler import compile_network
from evaluators.compile.link import link
from evaluators.compile.verify import compare, expected_outputs, verify
from hw_profiles.profile import Profile, load_profile, profile_names
from understudy import CompileError, RunError


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 1 if x.sum() > 0 else x


class Unknown(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.linalg.pinv(x)


class Distances(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cdist(x, x + 1)


class TwoInputs(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


@pytest.fixture(scope="module")
def profile() -> Profile:
    return load_profile("x86-host").with_threads(1)


def within(layer: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.ReLU(), layer))


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (Branching(), r"layer '1\.1' \(Branching\) cannot be exported"),
        (Unknown(), r"layer '1\.1'.*cannot be compiled"),
        (nn.Conv2d(5, 4, 1), r"layer '1\.1' \(Conv2d\) cannot be exported"),
    ],
)
def test_the_layer_is_named(layer: nn.Module, text: str, profile: Profile, tmp_path: Path) -> None:
    with pytest.raises(CompileError, match=text):
        compile_network(within(layer), torch.randn(1, 3, 8, 8), profile, tmp_path / "student.so")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_missing_is_named(profile: Profile, tmp_path: Path) -> None:
    with pytest.raises(CompileError, match="missing"):
        compile_network(nn.ReLU(), torch.randn(1, 3, 8, 8), profile, tmp_path / "missing" / "student.so")


def test_a_missing_input_is_the_networks_error(profile: Profile, tmp_path: Path) -> None:
    with pytest.raises(CompileError, match="TwoInputs"):
        compile_network(TwoInputs(), torch.randn(1, 3, 8, 8), profile, tmp_path / "student.so")


def test_nan_of_the_network_is_not_blamed_on_the_compiler() -> None:
    network = nn.Flatten().train()
    with pytest.raises(CompileError, match="network itself gives NaN"):
        expected_outputs(network, torch.tensor([[torch.nan, 1.0]]))
    assert network.training


@pytest.mark.parametrize("wrong", [1.01, np.nan, np.inf])
def test_a_mismatch_names_figure_and_tolerance(wrong: float) -> None:
    with pytest.raises(CompileError, match=r"differs from the network by .* over the tolerance of 0.001"):
        compare(np.ones((1, 2), np.float32), np.array([[1.0, wrong]], np.float32))


def test_verify_restores_the_mode_and_splits_batches() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Dropout(0.5)).train()
    seen = []

    def run(batch: np.ndarray) -> np.ndarray:
        seen.append(batch.shape)
        return batch.reshape(len(batch), -1)

    assert verify(network, run, torch.randn(4, 1, 2, 2), batch=2) == 0
    assert network.training
    assert seen == [(2, 1, 2, 2)] * 2


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (Distances(), r"operator _cdist_forward\.default of layer .*not known"),
        (nn.Conv2d(4, 4, 9, padding=1), r"layer '1\.1'"),
    ],
)
def test_what_cannot_be_lowered_is_named(layer: nn.Module, text: str, profile: Profile, tmp_path: Path) -> None:
    with pytest.raises(CompileError, match=text):
        compile_network(within(layer), torch.randn(1, 3, 8, 8), profile, tmp_path / "student.so")


@pytest.mark.parametrize(
    "failure", [KeyError("x"), IndexError("y"), AssertionError(), tvm.error.InternalError("z")]
)
def test_whatever_a_rule_runs_into_names_its_kernel(
    failure: Exception, profile: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise failure

    monkeypatch.setattr("evaluators.compile.rules.apply.RULES", (broken,))
    with pytest.raises(CompileError, match=rf"the kernel \w*convolution\w* cannot.*{type(failure).__name__}"):
        compile_network(nn.Conv2d(3, 4, 3), torch.randn(1, 3, 8, 8), profile, tmp_path / "student.so")


def test_a_full_disk_is_no_fault_of_the_network(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no space left to write"):
        link(None, tmp_path / "student.so", room=10**18, profile=load_profile("x86-host"))


def test_every_profile_compiles(tmp_path: Path) -> None:
    x = torch.randn(1, 3, 8, 8)
    for name in {
        load_profile(name).mcpu: name for name in profile_names() if load_profile(name).gpu is None
    }.values():
        network = within(nn.Conv2d(4, 13, 3))
        assert compile_network(network, x, load_profile(name), tmp_path / f"{name}.so").size_bytes > 0
