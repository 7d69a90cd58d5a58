"""One option of one kernel as a library that can be timed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import relax
from tvm.ir import GenericConst
from tvm.relax.utils import copy_with_new_vars

from evaluators.compile.choices import Choice, KernelKey
from evaluators.compile.legalize.context import Packing
from evaluators.compile.legalize.kernels import make_kernels
from evaluators.compile.link import build, link, plan_memory
from evaluators.compile.rules.apply import SCHEDULED, schedule_kernels
from evaluators.compile.tune.cases import Case
from evaluators.compile.tune.replaced import METASCHEDULE, as_tvm_computes, marked
from evaluators.compile.tune.schedule_search import Found, scheduled, search
from evaluators.latency.quiet import QuietCores
from hw_profiles.profile import Profile
from understudy import CompileError

MOST_COPIES = 16
_ROOM = 64_000_000
"""Bytes of disk that linking is given."""


def nothing() -> None:
    """What a new process is asked first: finding it imports all that building takes."""


def build_option(case: Case, option: Choice | Found, profile: Profile, library: Path) -> int:
    """Build the kernel of a case as ``option`` says, or under a schedule; how often a call of the library runs it.

    The library takes one float32 number, which it does not read: inputs are constants, so that kernels of any
    inputs are called alike. It computes the same operator several times with different weights, as many as a
    core's second cache holds: in a network, too, weights do not lie in the first cache when their kernel begins.
    Raises ``CompileError`` or whatever TVM runs into.
    """
    operator = tvm.ir.load_json(case.graph)
    if isinstance(option, Found):
        computed = as_tvm_computes(case, profile)
        name, kernel = marked(computed)[0]
        text = scheduled(tvm.ir.save_json(kernel), option, profile)
        computed.update_func(name, tvm.ir.load_json(text).with_attr(SCHEDULED, METASCHEDULE))
    else:
        computed = _built_as(case, option, profile, operator)
    kernels = schedule_kernels(computed, profile)
    copies = max(1, min(MOST_COPIES, profile.l2_bytes // _footprint(operator["main"])))
    module = tvm.IRModule(kernels.functions, attrs=kernels.attrs)
    module["main"] = _repeated(kernels["main"], copies)
    planned, memory = plan_memory(module)
    link(build(planned, profile.tvm_target), library, 2 * memory + _ROOM, profile)
    return copies


def search_schedule(case: Case, profile: Profile, seconds: float, lock: Path | None) -> Found | None:
    """What MetaSchedule finds in so many seconds for the operator of a case as TVM computes it."""
    with nullcontext() if lock is None else QuietCores(lock).working():
        ((_, kernel),) = marked(as_tvm_computes(case, profile))
    return search(tvm.ir.save_json(kernel), profile, seconds, lock)


def _built_as(case: Case, option: Choice, profile: Profile, operator: tvm.IRModule) -> tvm.IRModule:
    asked = []
    chosen = {**dict(case.before), case.key: option}

    def choose(key: KernelKey, options: Sequence[Choice]) -> Choice:
        asked.append(key)
        return chosen.get(key, options[0])

    computed = make_kernels(operator, profile, choose, Packing.of(case.key))
    if case.key not in asked:
        raise CompileError(f"the operator alone does not make the kernel {case.key}")
    return computed


def _footprint(main: relax.Function) -> int:
    """Bytes that the operator reads and writes."""
    tensors = {id(parameter): parameter.ty for parameter in main.params}

    def visit(expression: relax.Expr) -> None:
        if isinstance(expression, GenericConst) and isinstance(expression.value, tvm.runtime.Tensor):
            tensors[expression.value.data_ptr()] = expression.ty

    relax.analysis.post_order_visit(main.body, visit)
    if isinstance(main.ret_ty, relax.TensorType):
        tensors[id(main)] = main.ret_ty
    return sum(
        math.prod(map(int, tensor.shape)) * tvm.DataType(str(tensor.dtype)).bits // 8
        for tensor in tensors.values()
    )


def _repeated(main: relax.Function, copies: int) -> relax.Function:
    """The body several times over, each with weights of its own, for one input that is not read.

    The inputs are the same each time: in a network they were written just before and lie in the nearest cache.
    """
    generator = np.random.default_rng(0)
    inputs = [relax.const(_random(parameter.ty, generator)) for parameter in main.params]
    blocks: list[relax.BindingBlock] = []
    result: Any = None
    for copy in range(copies):
        fresh = copy_with_new_vars(main)
        body = _Rolled(copy).visit_expr(fresh.body) if copy else fresh.body
        bound = relax.Function(fresh.params, body, main.ret_ty).bind_params(
            dict(zip(fresh.params, inputs, strict=True))
        )
        blocks.extend(bound.body.blocks)
        result = bound.body.body if result is None else result
    dummy = relax.Var("unread", relax.TensorType((1,), "float32"))
    return relax.Function([dummy], relax.SeqExpr(blocks, result), main.ret_ty, attrs=main.attrs)


@relax.expr_functor.mutator
class _Rolled(relax.PyExprMutator):
    """Weights replaced by others of the same distribution, since equal ones would share their memory."""

    def __init__(self, by: int) -> None:
        super().__init__()
        self._by = by

    def visit_constant_(self, constant: GenericConst) -> GenericConst:
        return relax.const(np.roll(constant.value.numpy(), self._by))


def _random(tensor: relax.TensorType, generator: np.random.Generator) -> NDArray[Any]:
    shape, dtype = tuple(map(int, tensor.shape)), str(tensor.dtype)
    if dtype.startswith(("int", "uint", "bool")):
        return generator.integers(0, 2, shape).astype(dtype)
    return generator.standard_normal(shape).astype(dtype)
