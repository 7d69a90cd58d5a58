"""From a graph to kernels for a GPU, and to machine code for it and its host."""

from __future__ import annotations

import tvm
from tvm import relax

from evaluators.compile.cuda.kernels import make_gpu_kernels
from evaluators.compile.cuda.rules import schedule_gpu_kernels
from evaluators.compile.cuda.runtime import load_cuda_runtime
from evaluators.compile.cuda.toolkit import use_nvcc
from evaluators.compile.cuda.workspace import with_workspaces
from hw_profiles.profile import Profile


def lower_for_gpu(prepared: tvm.IRModule, profile: Profile) -> tuple[tvm.IRModule, tvm.IRModule]:
    """A prepared graph as calls of kernels, in float16 where the GPU is faster in it, and the same scheduled."""
    assert profile.gpu is not None
    machine = tvm.target.Target(dict(profile.tvm_target))
    with machine:
        computed = make_gpu_kernels(prepared, profile)
        return computed, with_workspaces(schedule_gpu_kernels(computed, profile.gpu, machine))


def build_for_gpu(module: tvm.IRModule, profile: Profile) -> tvm.runtime.Executable:
    """Machine code for a module with planned memory; raises ``CompileError`` without a CUDA for the GPU."""
    assert profile.gpu is not None
    use_nvcc(profile.gpu)
    load_cuda_runtime()
    machine = tvm.target.Target(dict(profile.tvm_target))
    # Memory is used again by nvcc; TVM's pass lets float16 and float32 share, which its own pointers then refuse.
    with machine, tvm.transform.PassContext(opt_level=3, config={"tirx.disable_storage_rewrite": True}):
        return relax.build(module, machine, relax_pipeline=None)
