"""Kernels as TVM computes them, for MetaSchedule to find schedules for, in place of ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tvm
from tvm.ir import GlobalVar
from tvm.tirx import PrimFunc

from evaluators.compile.choices import Choice, Chooser, KernelKey, ReplacedError
from evaluators.compile.legalize.context import Packing
from evaluators.compile.legalize.kernels import make_kernels
from evaluators.compile.legalize.replaced import mark_of
from evaluators.compile.tune.cases import Case
from hw_profiles.profile import Profile
from understudy import CompileError

METASCHEDULE = "metaschedule"
"""Who brought the schedule, in the list of kernels."""


def replacing(choose: Chooser, kernels: Mapping[str, object]) -> Chooser:
    """The chooser that leaves these kernels to TVM's computation, and asks ``choose`` about the others."""

    def answer(key: KernelKey, options: Sequence[Choice]) -> Choice:
        if str(key) in kernels:
            raise ReplacedError(str(key))
        return choose(key, options)

    return answer


def as_tvm_computes(case: Case, profile: Profile) -> tvm.IRModule:
    """The operator of a case as TVM's kernel; raises ``CompileError`` where TVM does not make one kernel of it."""
    before = dict(case.before)

    def chosen(key: KernelKey, options: Sequence[Choice]) -> Choice:
        return before.get(key, options[0])

    choose, packing = replacing(chosen, {str(case.key): None}), Packing.of(case.key)
    computed = make_kernels(tvm.ir.load_json(case.graph), profile, choose, packing)
    if len(marked(computed)) != 1 or sum(isinstance(each, PrimFunc) for each in computed.functions.values()) != 1:
        raise CompileError(f"TVM does not compute {case.key} in one kernel")
    return computed


def marked(computed: tvm.IRModule) -> list[tuple[GlobalVar, PrimFunc]]:
    """The kernels that stand for replaced ones."""
    return [
        (name, function)
        for name, function in computed.functions_items()
        if isinstance(function, PrimFunc) and mark_of(function) is not None
    ]
