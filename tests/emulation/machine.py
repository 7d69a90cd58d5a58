"""The emulated 64-bit ARM machine, where there is one (``make emulator``), and running students on it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from evaluators.compile.compiler import compile_module, compile_network
from evaluators.compile.importers.onnx_file import OnnxFile
from hw_profiles.profile import Profile
from results.bundle.tvm_runtime import CUDA, PACKAGES, RUNTIME

Array = NDArray[np.float32]
_HERE = Path(__file__).parent
_REPOSITORY = _HERE.parents[1]
VARIABLE = "UNDERSTUDY_ARM64_PYTHON"


def emulated_python() -> Path | None:
    """The emulated machine's Python: what the variable names, or what ``make emulator`` made."""
    path = Path(os.environ.get(VARIABLE) or _REPOSITORY / ".emulator" / "python")
    return path if path.is_file() else None


def emulated_program(program: Path) -> list[str]:
    """The command that runs a program of the emulated machine."""
    python = emulated_python()
    assert python is not None
    return ["qemu-aarch64-static", "-L", str(python.parent / "root"), str(program)]


def keep_runtime(cache: Path) -> None:
    """Put the emulated machine's TVM runtime where a build for it looks, so that it fetches none."""
    python = emulated_python()
    assert python is not None
    versions = "-".join(metadata.version(package) for package in PACKAGES)
    folder = cache / "understudy" / "tvm-runtime" / f"aarch64-{versions}"
    folder.mkdir(parents=True)
    for name in (*RUNTIME, CUDA):
        (found,) = (python.parent / "site").glob(f"*/lib/{name}")
        shutil.copyfile(found, folder / name)


def add_case(folder: Path, name: str, network: nn.Module, inputs: Sequence[Tensor], profile: Profile) -> None:
    """Compile a network for the profile into ``folder``, with the inputs and what torch gives for them."""
    with torch.no_grad():
        outputs = network.eval()(*inputs)
    compile_network(network, tuple(inputs), profile, folder / f"{name}.so")
    _keep(folder / f"{name}.npz", [tensor.numpy() for tensor in inputs], outputs.numpy())


def add_file(folder: Path, name: str, file: OnnxFile, profile: Profile) -> None:
    """The same of an ONNX file with float32 inputs, with what onnxruntime gives."""
    generator = np.random.default_rng(0)
    inputs = tuple(generator.normal(size=each.shape).astype(np.float32) for each in file.inputs)
    compile_module(file.module(), profile, folder / f"{name}.so")
    _keep(folder / f"{name}.npz", inputs, file.expected(inputs)[0])


def _keep(path: Path, inputs: Sequence[Array], output: Array) -> None:
    np.savez(path, out=output, **{f"in{index}": values for index, values in enumerate(inputs)})


def run_cases(folder: Path, timeout_s: float) -> dict[str, float]:
    """Each case's largest difference from torch on the emulated machine, as a share of its largest output."""
    python = emulated_python()
    assert python is not None
    runner = _REPOSITORY / "results" / "bundle"
    command = [str(python), str(_HERE / "differences.py"), str(runner), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    differences: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return differences
