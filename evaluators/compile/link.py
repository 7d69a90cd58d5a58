"""From a scheduled graph to one shared library on disk."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import tvm
from tvm import relax

from evaluators.compile.cross import ZigLinker
from evaluators.compile.machine_code import machine_of
from evaluators.compile.memory import planned_bytes
from evaluators.compile.vector_math import PIPELINE
from hw_profiles.profile import Profile
from results.store import unwritable
from understudy import CompileError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_REMEDY = {
    "system": "install gcc or set CXX to a C++ compiler",
    "zig": "install the linker (`pip install ziglang`)",
}
_SMALLER = ("-Wl,--gc-sections", "-s")
"""Linked without what nothing calls (each kernel brings TVM's conversions of float16) and without symbols."""


def plan_memory(module: tvm.IRModule, cuda_graph: bool = False) -> tuple[tvm.IRModule, int]:
    """The module with every activation given its place, and the peak memory of that plan in bytes.

    With ``cuda_graph``, kernels whose operands have fixed places (all but those that read the network's inputs or
    write its outputs) are recorded by the first inference as CUDA graphs, which later ones launch whole.
    """
    planned = tvm.transform.Sequential(
        [
            relax.transform.ToNonDataflow(),
            relax.transform.RemovePurityChecking(),
            relax.transform.CallTIRRewrite(),
            relax.transform.StaticPlanBlockMemory(),
        ]
    )(module)
    lower = tvm.transform.Sequential(
        [
            relax.transform.RewriteCUDAGraph(),
            relax.transform.LowerAllocTensor(),
            relax.transform.KillAfterLastUse(),
            relax.transform.LowerRuntimeBuiltin(),
            relax.transform.ComputePrimValue(),
            relax.transform.VMShapeLower(),
            relax.transform.AttachGlobalSymbol(),
        ]
    )
    with tvm.transform.PassContext(config={"relax.backend.use_cuda_graph": cuda_graph}):
        return lower(planned), planned_bytes(planned)


def build(module: tvm.IRModule, target: Mapping[str, object]) -> tvm.runtime.Executable:
    """Machine code for a module with planned memory, all kernels in one module whose assembly can be read."""
    machine = machine_of(target)
    with machine, tvm.transform.PassContext(opt_level=3, config={"tirx.disable_assert": True}):
        return relax.build(module, machine, relax_pipeline=None, tir_pipeline=PIPELINE)


def link(executable: tvm.runtime.Executable, library: Path, room: int, profile: Profile) -> None:
    """Write the shared library for the profile, for which ``room`` bytes must be free on the disk.

    Raises ``CompileError`` when the linker fails or the file cannot be written, ``RunError`` when the disk is
    full.
    """
    linker = None if profile.linker == "system" else ZigLinker(profile.isa)
    partial = library.with_name(f".{library.name}.part")
    try:
        check_room(Path(tempfile.gettempdir()), room)
        check_room(library.parent, room)
        executable.export_library(str(partial), fcompile=linker, options=list(_SMALLER))
        partial.replace(library)
    except (RuntimeError, OSError) as error:
        said = " ".join(str(error).split("\n")[:2]).strip()
        if getattr(error, "errno", None) in _FULL or any(os.strerror(number) in said for number in _FULL):
            raise unwritable(library, OSError(errno.ENOSPC, said)) from error
        raise CompileError(
            f"cannot link {library} ({said}): {_REMEDY[profile.linker]}, and see that the folder is writable"
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def check_room(folder: Path, room: int) -> None:
    """Raise ``RunError`` where there is less room: LLVM ends the process when the disk is full."""
    if shutil.disk_usage(folder).free < room:
        raise unwritable(folder, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
