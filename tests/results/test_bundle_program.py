"""A bundle's program: it gives what ``run.py`` gives, with no Python, here and on an emulated ARM machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from made_up_run import make_run
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[2]))
from evaluators.compile.compiler import compile_network
from hw_profiles.profile import Profile, load_profile
from results.bundle.manifest import network_manifest
from results.bundle.program import Machine
from results.bundle.runner import Bundle, BundleProblem, preprocess
from results.bundle.tvm_runtime import runtime_files
from results.bundle.write import LIBRARY, write_bundle, write_network_bundle
from results.tensors import TensorSpec
from results.view import read_view
from tests.emulation.machine import emulated_program, emulated_python, keep_runtime
from understudy import BundleError

SIDE, LABELS = 12, ["healthy", "rust", "spot"]


def network() -> nn.Module:
    torch.manual_seed(3)
    layers = (nn.Conv2d(3, 9, 3, 2, padding=1), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(9, 3))
    return nn.Sequential(*layers).eval()


class Both(nn.Module):
    """Two outputs of two inputs, of which one is no float."""

    def forward(self, ids: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        return ids * 2, scale + ids.to(torch.float32)


def student_bundle(folder: Path, profile: Profile) -> Path:
    """A student of a run for the profile, with a program."""
    store = make_run(folder / "run", 30)
    student = replace(store.students()[0], preprocess={**store.students()[0].preprocess, "size": SIDE})
    for kind in ("library", "onnx"):
        (store.path / student.files[kind]).parent.mkdir(parents=True, exist_ok=True)
        (store.path / student.files[kind]).write_bytes(b"stands for the twin")
    compile_network(network(), torch.zeros(1, 3, SIDE, SIDE), profile, store.path / student.files["library"])
    store.write_facts({**store.facts(), "profile": asdict(profile)})
    return write_bundle(read_view(store), store.path, student, folder / "bundle", with_program=True)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return student_bundle(tmp_path_factory.mktemp("here"), load_profile("x86-host").with_threads(1))


def run(command: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("PATH", "TVM_THREAD_POOL_SPIN_COUNT")} | environment
    return subprocess.run(command, cwd=folder, env=kept, capture_output=True, text=True, timeout=600, check=False)


def add_photos(folder: Path) -> np.ndarray:
    """A photo in each form that the program reads; scaling it down takes several taps."""
    pixels = np.random.default_rng(1).integers(0, 256, (41, 37, 3), dtype=np.uint8)
    np.save(folder / "photo.npy", pixels)
    (folder / "photo.ppm").write_bytes(b"P6\n# made here\n37 41\n255\n" + pixels.tobytes())
    return pixels


def expected_line(bundle: Path, pixels: np.ndarray) -> str:
    """What torch answers, as both runners print it."""
    spec = {"channels": 3, "size": SIDE, "mean": [0.5] * 3, "std": [0.25] * 3}
    with torch.no_grad():
        shares = network()(torch.from_numpy(preprocess(pixels, spec)))[0].double().softmax(0)
    order = shares.argsort(descending=True)
    return "   ".join(f"{LABELS[index]} {100 * shares[index]:.1f} %" for index in order)


def test_the_program_predicts_what_torch_does(bundle: Path, tmp_path: Path) -> None:
    alone = shutil.copytree(bundle, tmp_path / "elsewhere")
    pixels = add_photos(tmp_path)
    done = run([str(alone / "run"), "predict", "photo.ppm", "photo.npy"], tmp_path)
    assert done.returncode == 0, done.stderr
    answer = expected_line(bundle, pixels)
    assert done.stdout.splitlines() == [f"photo.ppm:  {answer}", f"photo.npy:  {answer}"]
    measured = run([str(alone / "run"), "bench", "--repeat", "3"], tmp_path)
    assert "3 samples, 1 thread)" in measured.stdout
    assert "measured on x86-host" in measured.stdout


def test_the_bundle_holds_the_programs_source_command_and_licences(bundle: Path) -> None:
    names = {path.name for path in bundle.iterdir()}
    assert {"run", "run.cc", "build.sh", "libtvm_runtime.so", "libtvm_ffi.so", "LICENSE.apache-tvm"} <= names
    assert "run.cc" in (bundle / "build.sh").read_text()
    assert "./run bench" in (bundle / "README.md").read_text()
    Bundle(bundle)  # its sums are right


def test_arrays_go_in_and_out_as_files(tmp_path: Path) -> None:
    inputs = (torch.tensor([[1, 2, 300]]), torch.randn(1, 3))
    profile = load_profile("x86-host").with_threads(1)
    compiled = compile_network(Both(), inputs, profile, tmp_path / "both.so")
    specs = [TensorSpec(name, (1, 3), dtype).to_json() for name, dtype in (("ids", "int64"), ("scale", "float32"))]
    folder = write_network_bundle(
        tmp_path / "bundle",
        {LIBRARY: tmp_path / "both.so"},
        {},
        lambda sums: network_manifest("both", specs, compiled.outputs, {}, asdict(profile), {}, sums),
        "both",
        Machine("x86_64", cuda=False),
    )
    np.save(tmp_path / "ids.npy", inputs[0].numpy())
    (tmp_path / "scale.bin").write_bytes(inputs[1].numpy().tobytes())
    program = str(folder / "run")
    done = run([program, "predict", "ids.npy", "scale.bin", "--to", "."], tmp_path)
    assert done.returncode == 0, done.stderr
    for spec, expected in zip(compiled.outputs, Both()(*inputs), strict=True):
        found = np.load(tmp_path / f"{spec.name}.npy")
        assert found.dtype == expected.numpy().dtype
        assert np.array_equal(found, expected.numpy())
    for files, problem in (
        (["scale.bin", "ids.npy"], "ids must be int64 (1, 3), 24 bytes, but scale.bin has 12"),
        (["ids.npy"], "takes 2 inputs, but got 1"),
        (["ids.npy", "none.npy"], "cannot read none.npy"),
    ):
        failed = run([program, "predict", *files], tmp_path)
        assert (failed.returncode, failed.stderr.count("\n")) == (1, 1)
        assert problem in failed.stderr


def test_a_damaged_bundle_is_refused_in_one_line(bundle: Path, tmp_path: Path) -> None:
    damaged = shutil.copytree(bundle, tmp_path / "damaged")
    (damaged / "student.so").write_bytes(b"nothing")
    (damaged / "manifest.json").write_text((bundle / "manifest.json").read_text())
    failed = run([str(damaged / "run"), "bench"], tmp_path)
    assert (failed.returncode, failed.stderr.count("\n")) == (1, 1)
    (damaged / "manifest.json").write_text("{")
    failed = run([str(damaged / "run"), "bench"], tmp_path)
    assert (failed.returncode, failed.stderr.count("\n")) == (1, 1)
    assert "manifest.json is damaged" in failed.stderr


def test_without_network_and_wheels_the_runtime_of_another_processor_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(BundleError, match=r"cannot fetch the TVM runtime for aarch64 .*PIP_FIND_LINKS"):
        runtime_files("aarch64")


@pytest.mark.timeout(900)
@pytest.mark.skipif(emulated_python() is None, reason="no emulated machine: `make emulator` makes one (as root)")
def test_python_and_the_program_predict_what_torch_does_on_emulated_arm64(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("ZIG_GLOBAL_CACHE_DIR", str(Path.home() / ".cache" / "zig"))
    keep_runtime(tmp_path / "cache")
    made = student_bundle(tmp_path / "made", load_profile("rpi4").with_threads(2))
    with pytest.raises(BundleProblem, match="is for aarch64"):
        Bundle(made)
    (tmp_path / "board").mkdir()
    alone = shutil.copytree(made, tmp_path / "board" / "bundle")
    answer = expected_line(alone, add_photos(alone))
    for command in ([str(emulated_python()), "run.py"], emulated_program(alone / "run")):
        done = run([*command, "predict", "photo.npy"], alone)
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"photo.npy:  {answer}\n"
