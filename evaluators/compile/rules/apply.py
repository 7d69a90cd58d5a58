"""Give each kernel its schedule: the first rule that answers, in the manner of TVM's dlight."""

from __future__ import annotations

from collections.abc import Callable

import tvm
from tvm.s_tir.schedule import ScheduleError
from tvm.tirx import PrimFunc

from evaluators.compile.rules import (
    attention,
    convolution,
    dense,
    depthwise,
    depthwise_integer,
    fallback,
    integer,
    matmul,
    pieces,
    pooling,
    rows,
    transpose,
    winograd,
)
from hw_profiles.profile import Profile
from understudy import CompileError

Rule = Callable[[PrimFunc, Profile], PrimFunc | None]
RULES: tuple[Rule, ...] = (
    attention.apply,
    winograd.apply,
    convolution.apply,
    depthwise.apply,
    depthwise_integer.apply,
    dense.apply,
    matmul.apply,
    pooling.apply,
    transpose.apply,
    rows.apply,
    integer.apply,
    pieces.apply,
    fallback.apply,
)

_RULE = "understudy_rule"
SCHEDULED = "scheduled"
"""Attribute of a kernel whose schedule did not come from a rule: who brought it."""


def schedule_kernels(module: tvm.IRModule, profile: Profile) -> tvm.IRModule:
    """Every kernel of the module scheduled for the profile; raises ``CompileError`` naming one that cannot be."""
    scheduled = tvm.IRModule(module.functions, attrs=module.attrs)
    for variable, function in module.functions_items():
        if isinstance(function, PrimFunc):
            try:
                scheduled.update_func(variable, schedule_kernel(function, profile))
            except Exception as error:  # a rule, or TVM under it, may run into anything
                raise CompileError(
                    f"the kernel {variable.name_hint} cannot be scheduled for {profile.name} "
                    f"({type(error).__name__}: {error}): use another layer there"
                ) from error
    return scheduled


def schedule_kernel(function: PrimFunc, profile: Profile) -> PrimFunc:
    """The kernel as the first rule schedules it; a rule that TVM refuses is passed over.

    One that is scheduled already is left as it is.
    """
    if SCHEDULED in (function.attrs or {}):
        return function.with_attr(_RULE, str(function.attrs[SCHEDULED]))
    for rule in RULES:
        try:
            answer = rule(function, profile)
        except ScheduleError:
            continue
        if answer is not None:
            name = rule.__module__.rpartition(".")[2]
            return _with_attributes_of(function, answer).with_attr(_RULE, name)
    return function


def rule_of(scheduled: PrimFunc) -> str:
    """The rule that gave a kernel its schedule, or ``none``."""
    attributes = scheduled.attrs or {}
    return str(attributes[_RULE]) if _RULE in attributes else "none"


def _with_attributes_of(function: PrimFunc, scheduled: PrimFunc) -> PrimFunc:
    """The schedule names its function ``main``; give back the name (or none) that the graph knows."""
    attributes = function.attrs or {}
    if "global_symbol" in attributes:
        return scheduled.with_attr("global_symbol", attributes["global_symbol"])
    return scheduled.without_attr("global_symbol")
