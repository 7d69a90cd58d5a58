"""TVM's CUDA runtime on a computer without a GPU: enough of it to put machine code for another one into a library.

TVM packs the code of a GPU by its CUDA runtime, which cannot be loaded without NVIDIA's libraries, although
packing calls none of their functions but those that tidy up. Where there is no driver, stand-ins take their place.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import tempfile
from importlib import metadata
from pathlib import Path

import tvm_ffi

from results.bundle.tvm_runtime import CUDA, runtime_files
from results.bundle.zig import zig
from understudy import CompileError

_CREATE = "ffi.Module.create.cuda"
_TIDYING = (
    "cudaSetDevice",
    "cudaFree",
    "cudaFreeHost",
    "cudaStreamDestroy",
    "cudaEventDestroy",
    "cudaGetLastError",
)
_STANDINS = {
    "libcudart.so.13": "int cudaGetDevice(int *device) { *device = 0; return 0; }\n"
    + "".join(f"int {name}() {{ return 0; }}\n" for name in _TIDYING),
    "libcuda.so.1": "int cuModuleUnload() { return 0; }\n",
}


def load_cuda_runtime() -> None:
    """Have TVM know how code for GPUs is packed; raises ``CompileError`` when its runtime cannot be loaded."""
    if tvm_ffi.get_global_func(_CREATE, allow_missing=True) is not None:
        return
    library = runtime_files(os.uname().machine)[CUDA]
    try:
        with tempfile.TemporaryDirectory(prefix="understudy-") as folder:
            for name, source in _STANDINS.items():
                _load(name, source, Path(folder))
            ctypes.CDLL(str(library), mode=os.RTLD_LAZY | os.RTLD_GLOBAL)
    except (OSError, subprocess.CalledProcessError) as error:
        version = metadata.version("apache-tvm")
        raise CompileError(f"the CUDA runtime of apache-tvm {version} cannot be loaded ({error})") from error


def _load(name: str, source: str, folder: Path) -> None:
    """NVIDIA's library of that name, or a stand-in for it."""
    try:
        ctypes.CDLL(name, mode=os.RTLD_GLOBAL)
    except OSError:
        (folder / "standin.c").write_text(source)
        made = folder / name
        command = [*zig("cc", os.uname().machine), "-shared", f"-Wl,-soname,{name}", "-w", "-o", str(made)]
        subprocess.run([*command, str(folder / "standin.c")], check=True, capture_output=True)
        ctypes.CDLL(str(made), mode=os.RTLD_GLOBAL)
