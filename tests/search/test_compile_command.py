"""`understudy compile` and what is done with its bundle."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn

from hw_profiles.profile import profile_names
from search.cli.compile import parse_shape
from search.cli.main import group
from understudy import BundleError, ConfigError


class Picked(nn.Module):
    """Rows of a table, scaled."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(7, 3)

    def forward(self, ids: Tensor, scale: Tensor) -> Tensor:
        return self.table(ids) * scale


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("programs") / "picked.pt2"
    example = (torch.tensor([[1, 2]]), torch.ones(3))
    torch.export.save(torch.export.export(Picked(), example), path)
    return path


@pytest.fixture(scope="module")
def bundle(program: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles") / "bundle"
    result = call("compile", program, "--to", folder, "--threads", "1")
    assert result.exit_code == 0, result.output
    for shown in ("ids int64 1x2", "latency", "difference", "compiling", f"Next: understudy bench {folder}"):
        assert shown in result.output
    return folder


def call(*arguments: object):
    return CliRunner().invoke(group, [str(argument) for argument in arguments])


def test_the_manifest_says_what_goes_in_and_out(bundle: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert manifest["inputs"] == [
        {"name": "ids", "shape": [1, 2], "dtype": "int64", "below": 7},
        {"name": "scale", "shape": [3], "dtype": "float32"},
    ]
    assert [(each["shape"], each["dtype"]) for each in manifest["outputs"]] == [([1, 2, 3], "float32")]
    assert set(manifest["figures"]) == {"size", "memory", "difference", "latency"}
    assert set(manifest["files"]) == {"student.so", "student.onnx", "run.py", "requirements.txt", "README.md"}
    assert "labels" not in manifest
    assert "preprocess" not in manifest


def test_predict_takes_arrays_and_writes_them(bundle: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "in.npz", ids=np.array([[3, 3]]), scale=np.array([1, 2, 3]))
    result = call("predict", bundle, tmp_path / "in.npz", "--to", tmp_path / "out.npz")
    assert "float32 (1, 2, 3)" in result.output
    with np.load(tmp_path / "out.npz") as held:
        (answer,) = held.values()
    assert (answer[0, 0] == answer[0, 1]).all()
    np.savez(tmp_path / "bad.npz", ids=np.array([[3, 3, 3]]), scale=np.ones(3))
    for file, problem in (("bad.npz", r"ids must have the shape \(1, 2\)"), ("none.npz", "cannot be read")):
        failed = call("predict", bundle, tmp_path / file)
        assert isinstance(failed.exception, BundleError)
        with pytest.raises(BundleError, match=problem):
            raise failed.exception


def test_bench_times_it_in_turn_with_onnx_runtime(bundle: Path) -> None:
    result = call("bench", bundle, "--against", "onnxruntime")
    assert "here:" in result.output
    assert "ratio" in result.output


def test_a_profile_of_another_machine_is_compiled_but_not_run(program: Path, tmp_path: Path) -> None:
    from hw_profiles.profile import load_profile

    foreign = [name for name in profile_names() if load_profile(name).reach != "host"]
    if not foreign:
        pytest.skip("this computer runs every profile")
    result = call("compile", program, "--to", tmp_path / "bundle", "--profile", foreign[0])
    assert "neither checked nor timed" in result.output
    assert "latency" not in json.loads((tmp_path / "bundle" / "manifest.json").read_text())["figures"]


def test_errors_are_sentences(program: Path, bundle: Path, tmp_path: Path) -> None:
    for arguments, problem in (
        ((program, "--to", tmp_path / "b", "--tune-with", "metaschedule"), "needs a time"),
        ((tmp_path / "none.onnx", "--to", tmp_path / "b"), "there is no file"),
        ((program, "--to", bundle), "exists"),
        ((program, "--to", tmp_path / "b", "--profile", "x86-hots"), "did you mean"),
        ((program, "--to", tmp_path / "b", "--input", "ids=1x9"), "takes ids as 1x2"),
    ):
        assert problem in str(call("compile", *arguments).exception)
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("text", ["", "ids", "ids=", "ids=1x", "ids=0x3", "ids=-1x3", "ids=1x2.5"])
def test_a_shape_that_is_none(text: str) -> None:
    with pytest.raises(ConfigError, match="like ids=1x128"):
        parse_shape(text)


def test_shapes() -> None:
    assert parse_shape("ids=1x128") == ("ids", (1, 128))
    assert parse_shape("1x3x8x8") == ("", (1, 3, 8, 8))
    assert parse_shape("a=b=2") == ("a=b", (2,))


def test_what_was_tuned_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERSTUDY_KERNELS", str(tmp_path / "kernels.sqlite"))
    monkeypatch.setenv("COLUMNS", "200")
    layers = nn.Sequential(nn.Linear(24, 40), nn.ReLU())
    torch.export.save(torch.export.export(layers, (torch.ones(6, 24),)), tmp_path / "layers.pt2")
    result = call("compile", tmp_path / "layers.pt2", "--to", tmp_path / "bundle", "--threads", "1", "--tune", "2")
    assert result.exit_code == 0, result.output
    assert "MetaSchedule" not in result.output
    for shown in ("tuned 1 kernels in", "before and after timed in turn", "m=6 k=24 n=40"):
        assert shown in " ".join(result.output.split())
