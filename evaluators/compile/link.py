"""From a scheduled graph to one shared library on disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import tvm
from tvm import relax

from evaluators.compile.memory import planned_bytes
from understudy import CompileError

OPTIMISATION = 2
"""LLVM's level. The rules vectorise and unroll already: 3 takes a quarter longer for the same speed, while 1 would
leave the kernels of the fallback without LLVM's own vectors."""


def plan_memory(module: tvm.IRModule) -> tuple[tvm.IRModule, int]:
    """The module with every activation given its place, and the peak memory of that plan in bytes."""
    planned = tvm.transform.Sequential(
        [
            relax.transform.RewriteDataflowReshape(),
            relax.transform.ToNonDataflow(),
            relax.transform.RemovePurityChecking(),
            relax.transform.CallTIRRewrite(),
            relax.transform.StaticPlanBlockMemory(),
        ]
    )(module)
    lowered = tvm.transform.Sequential(
        [
            relax.transform.LowerAllocTensor(),
            relax.transform.KillAfterLastUse(),
            relax.transform.LowerRuntimeBuiltin(),
            relax.transform.ComputePrimValue(),
            relax.transform.VMShapeLower(),
            relax.transform.AttachGlobalSymbol(),
        ]
    )(planned)
    return lowered, planned_bytes(planned)


def build(module: tvm.IRModule, target: Mapping[str, object]) -> tvm.runtime.Executable:
    """Machine code for a module with planned memory.

    The kernels do not check the shapes of their arguments, which took half of the code: ``main`` checks its
    input, and the shapes behind it are fixed.
    """
    machine = tvm.target.Target({**target, "opt-level": OPTIMISATION})
    with machine, tvm.transform.PassContext(opt_level=3, config={"tirx.disable_assert": True}):
        return relax.build(module, machine, relax_pipeline=None)


def link(executable: tvm.runtime.Executable, library: Path) -> None:
    """Write the shared library; raises ``CompileError`` when the linker fails or the file cannot be written."""
    partial = library.with_name(f".{library.name}.part")
    try:
        executable.export_library(str(partial))
        partial.replace(library)
    except (RuntimeError, OSError) as error:
        raise CompileError(
            f"cannot link {library} ({str(error).strip().splitlines()[0]}): "
            "install gcc or set CXX to a C++ compiler, and see that the folder is writable"
        ) from error
    finally:
        partial.unlink(missing_ok=True)
