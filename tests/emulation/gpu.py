"""Kernels for NVIDIA GPUs run on a processor: the CUDA that TVM writes, its threads as fibers (``cuda/``).

Unlike a schedule run as plain loops this shows what TVM's lowering makes of threads: stores by threads that have
nothing to store, what depends on the order of threads or blocks, and stores beyond a tensor's end.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tvm
import tvm_ffi
from numpy.typing import NDArray
from tvm.s_tir.stmt import SBlockRealize
from tvm.tirx import For, PrimFunc, SeqStmt

from evaluators.compile.cuda.runtime import load_cuda_runtime
from hw_profiles.profile import Profile

_HEADERS = Path(__file__).parent / "cuda"
_GUARD = 64
"""Elements beside a tensor that must stay as they are."""
_MARK = 77


def compiler() -> str | None:
    """The system's C++ compiler, with GCC 12's or Clang 15's ``_Float16``."""
    return os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")


@dataclass
class _Launch:
    """How many blocks and threads a kernel is launched with, by CUDA's names for their axes."""

    extents: dict[str, int] = field(default_factory=dict)

    def dim3(self, kind: str) -> str:
        return "{" + ", ".join(str(self.extents.get(f"{kind}.{axis}", 1)) for axis in "xyz") + "}"


class Kernels:
    """Scheduled kernels compiled together; their parameters have names of their own."""

    def __init__(self, functions: Sequence[PrimFunc], profile: Profile) -> None:
        self._functions = list(functions)
        source = _source(self._functions, profile)
        runs = [_run(number, function, source) for number, function in enumerate(self._functions)]
        with tempfile.TemporaryDirectory() as folder:
            self._library = ctypes.CDLL(str(_built(source + "".join(runs), Path(folder))))

    def run(self, number: int, inputs: Sequence[NDArray[Any]], down: bool) -> NDArray[Any]:
        """What a kernel leaves in its first parameter after the inputs, blocks and threads rising or falling.

        Raises ``AssertionError`` when it stores beside one of its tensors.
        """
        parameters = self._functions[number].params
        tensors = [(np.dtype(str(each.ty.dtype)), tuple(map(int, each.ty.shape))) for each in parameters]
        guarded = [np.full(int(np.prod(shape)) + 2 * _GUARD, _MARK, dtype) for dtype, shape in tensors]
        for whole, given in zip(guarded, inputs, strict=False):
            whole[_GUARD:-_GUARD] = given.ravel()
        pointers = [each.ctypes.data + _GUARD * each.itemsize for each in guarded]
        run = getattr(self._library, f"run{number}")
        run(ctypes.c_bool(down), (ctypes.c_void_p * len(pointers))(*pointers))
        for parameter, whole in zip(parameters, guarded, strict=True):
            beside = np.concatenate([whole[:_GUARD], whole[-_GUARD:]])
            assert (beside == _MARK).all(), f"the kernel stores beside {parameter.name}"
        return guarded[len(inputs)][_GUARD:-_GUARD].reshape(tensors[len(inputs)][1])


def _run(number: int, function: PrimFunc, source: str) -> str:
    """A C function that launches a function's kernels one after the other."""
    names = [re.sub(r"\W", "_", parameter.name) + "_ptr" for parameter in function.params]
    found = re.findall(rf'extern "C" __global__ void[^(]*\([^)]*\) (k{number}_kernel\w*)\(([^)]*)\) \{{', source)
    calls = []
    for (name, parameters), launch in zip(sorted(found, key=_part), _launches(function), strict=True):
        arguments = []
        for parameter in parameters.split(","):
            kind, _, pointer = parameter.strip().replace("__restrict__ ", "").rpartition(" ")
            arguments.append(f"({kind})arguments[{names.index(pointer)}]")
        call = f"{name}({', '.join(arguments)})"
        calls.append(
            f"  emulation::launch({launch.dim3('blockIdx')}, {launch.dim3('threadIdx')}, down, [=] {{ {call}; }});"
        )
    return f'extern "C" void run{number}(bool down, void** arguments) {{\n' + "\n".join(calls) + "\n}\n"


def _built(source: str, folder: Path) -> Path:
    (folder / "kernels.cpp").write_text(source)
    command = [str(compiler()), "-std=c++20", "-O1", "-w", "-fPIC", "-shared", f"-I{_HEADERS}"]
    command += [str(folder / "kernels.cpp"), "-o", str(folder / "kernels.so")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "kernels.so"


def _part(kernel: tuple[str, str]) -> int:
    digits = kernel[0].rpartition("_kernel")[2].strip("_")
    return int(digits) if digits else 0


def _source(functions: Sequence[PrimFunc], profile: Profile) -> str:
    """The CUDA that TVM hands to nvcc."""
    written: list[str] = []

    def keep(code: str) -> bytes:
        written.append(code)
        return b"nothing"

    load_cuda_runtime()
    tvm_ffi.register_global_func("tvm_callback_cuda_compile", keep, override=True)
    named = {f"k{number}": function for number, function in enumerate(functions)}
    module = tvm.IRModule({name: each.with_attr("global_symbol", name) for name, each in named.items()})
    with tvm.transform.PassContext(opt_level=3, config={"tirx.disable_storage_rewrite": True}):
        tvm.compile(module, target=tvm.target.Target(dict(profile.tvm_target)))
    return written[0]


def _launches(function: PrimFunc) -> Iterator[_Launch]:
    """One for each nest of loops at the function's root, which TVM makes a kernel each."""
    body = function.body.block.body
    for nest in body.seq if isinstance(body, SeqStmt) else [body]:
        launch = _Launch()
        _note_threads(nest, launch.extents)
        yield launch


def _note_threads(statement: Any, extents: dict[str, int]) -> None:
    if isinstance(statement, SeqStmt):
        for each in statement.seq:
            _note_threads(each, extents)
    elif isinstance(statement, SBlockRealize):
        _note_threads(statement.block.body, extents)
    elif isinstance(statement, For):
        if statement.thread_binding is not None:
            axis = str(statement.thread_binding.thread_tag)
            extents[axis] = max(extents.get(axis, 1), int(statement.extent))
        _note_threads(statement.body, extents)
