"""nvcc, from an installed CUDA or from Python packages; no GPU and no driver are needed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import tvm_ffi

from hw_profiles.gpu import Gpu
from understudy import CompileError

_CALLBACK = "tvm_callback_cuda_compile"
_TIMEOUT_S = 600
_OPTIONS = (
    "-O3",
    "--cubin",
    "--expt-relaxed-constexpr",
    "-U__CUDA_NO_HALF_OPERATORS__",
    "-U__CUDA_NO_HALF_CONVERSIONS__",
)


def use_nvcc(gpu: Gpu) -> None:
    """Have TVM compile CUDA for the GPU by the first nvcc found.

    Searched are ``CUDA_HOME``, the path, /usr/local/cuda* (the newest first) and the environment's packages
    (``pip install understudy[cuda]``). Raises ``CompileError`` where there is none, or none that builds for it.
    """
    nvcc = _nvcc_for(gpu)

    def compile_cuda(code: str) -> bytes:
        return _cubin(nvcc, gpu.arch, code)

    tvm_ffi.register_global_func(_CALLBACK, compile_cuda, override=True)


def _nvcc_for(gpu: Gpu) -> Path:
    found = list(_candidates())
    for nvcc in found:
        if gpu.arch.replace("sm_", "compute_") in _architectures(nvcc):
            return nvcc
    if found:
        raise CompileError(
            f"{found[0]} does not build for {gpu.arch} ({gpu.toolkit}): install one that does and set CUDA_HOME"
        )
    raise CompileError(
        f"compiling for {gpu.arch} needs nvcc ({gpu.toolkit}): `pip install 'understudy[cuda]'`, or install CUDA "
        "and set CUDA_HOME"
    )


def _candidates() -> Iterator[Path]:
    places = [Path(os.environ["CUDA_HOME"]) / "bin" / "nvcc"] if "CUDA_HOME" in os.environ else []
    on_path = shutil.which("nvcc")
    places += [Path(on_path)] if on_path else []
    places += sorted(Path("/usr/local").glob("cuda*/bin/nvcc"), reverse=True)
    places += sorted(Path(sysconfig.get_path("purelib")).glob("nvidia/cu*/bin/nvcc"), reverse=True)
    yield from (place for place in places if place.is_file())


def _architectures(nvcc: Path) -> list[str]:
    try:
        done = subprocess.run(
            [str(nvcc), "--list-gpu-arch"], capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.split()


def _cubin(nvcc: Path, arch: str, code: str) -> bytes:
    """Machine code of the kernels; raises ``RuntimeError`` with what nvcc says."""
    with tempfile.TemporaryDirectory(prefix="understudy-cuda-") as folder:
        source, made = Path(folder) / "kernels.cu", Path(folder) / "kernels.cubin"
        source.write_text(code)
        command = [str(nvcc), *_OPTIONS, f"-arch={arch}", "-o", str(made), str(source)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
        if done.returncode:
            raise RuntimeError(f"nvcc refuses the kernels: {(done.stderr or done.stdout).strip()[-2000:]}")
        return made.read_bytes()
