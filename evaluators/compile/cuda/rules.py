"""Give each kernel its schedule for a GPU: our rules first, then those of TVM's dlight."""

from __future__ import annotations

from collections.abc import Callable

import tvm
from tvm.s_tir import Schedule, dlight
from tvm.s_tir.dlight.base import ScheduleRule
from tvm.s_tir.schedule import ScheduleError
from tvm.tirx import PrimFunc

from evaluators.compile.cuda import columns, tensor_cores, window
from hw_profiles.gpu import Gpu

GpuRule = Callable[[PrimFunc, Gpu], PrimFunc | None]
_OURS: tuple[GpuRule, ...] = (tensor_cores.apply, window.apply, columns.apply)
_RULE = "understudy_rule"


def schedule_gpu_kernels(module: tvm.IRModule, gpu: Gpu, target: tvm.target.Target) -> tvm.IRModule:
    """Every kernel of the module scheduled for the GPU, whose TVM target is given."""
    scheduled = tvm.IRModule(module.functions, attrs=module.attrs)
    for variable, function in module.functions_items():
        if isinstance(function, PrimFunc):
            scheduled.update_func(variable, _scheduled(function, gpu, target))
    return scheduled


def _scheduled(function: PrimFunc, gpu: Gpu, target: tvm.target.Target) -> PrimFunc:
    for rule in _OURS:
        try:
            answer = rule(function, gpu)
        except ScheduleError:
            continue
        if answer is not None:
            return _named(function, answer, rule.__module__.rpartition(".")[2])
    plain = function.with_attr("dlight.do_not_tensorize", True)  # its tensor intrinsics take a minute to import
    for theirs in _dlight():
        try:
            answer = theirs.apply(plain, target, False)
        except (AssertionError, ScheduleError):  # not their case, which some rules say so
            continue
        if isinstance(answer, Schedule):
            return _named(function, answer.mod["main"], f"dlight.{type(theirs).__name__}")
    return function


def _dlight() -> tuple[ScheduleRule, ...]:
    gpu = dlight.gpu
    return (gpu.Matmul(), gpu.GEMV(), gpu.Reduction(), gpu.GeneralReduction(), gpu.Fallback())


def _named(function: PrimFunc, scheduled: PrimFunc, rule: str) -> PrimFunc:
    """With the name (or none) that the graph knows, and the rule that answered."""
    attributes = function.attrs or {}
    if "global_symbol" in attributes:
        scheduled = scheduled.with_attr("global_symbol", attributes["global_symbol"])
    else:
        scheduled = scheduled.without_attr("global_symbol")
    return scheduled.with_attr(_RULE, rule).with_attr("tirx.is_scheduled", True)
