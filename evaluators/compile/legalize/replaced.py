"""Operators left as TVM computes them, marked so that a schedule from elsewhere finds its kernel."""

from __future__ import annotations

import tvm
import tvm_ffi
from tvm import relax
from tvm.s_tir import SBlock, Schedule
from tvm.tirx import PrimFunc

MARK = "replaced"
"""Annotation of the last stage of TVM's computation, which stays when others are fused to it."""


def as_tvm_computes(builder: relax.BlockBuilder, call: relax.Call, mark: str) -> relax.Expr:
    """TVM's own kernel for the operator, marked; without a mark where TVM makes no single kernel of it."""
    answer = call.op.get_attr("FLegalize")(builder, call)
    if not isinstance(answer, relax.Call) or answer.op != tvm.ir.Op.get("relax.call_tir"):
        return answer
    name = answer.args[0].name_hint
    schedule = Schedule(builder.get()[answer.args[0]])
    *_, last = schedule.get_child_blocks(schedule.get_sblock("root"))
    schedule.annotate(last, MARK, mark)
    marked = builder.add_func(schedule.mod["main"].without_attr("global_symbol"), name)
    return relax.Call(answer.op, [marked, *answer.args[1:]], answer.attrs, answer.ty_args)


def mark_of(function: PrimFunc) -> str | None:
    """The mark of a kernel, None for one of ours."""
    found: list[str] = []

    def visit(stage: SBlock) -> None:
        if MARK in stage.annotations:
            found.append(str(stage.annotations[MARK]))

    tvm_ffi.structural_walk(function.body, (SBlock, visit), order="post")
    return found[0] if found else None
