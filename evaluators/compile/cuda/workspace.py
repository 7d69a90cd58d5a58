"""What a kernel's parts leave in memory for one another, as tensors of the graph.

TVM would take such memory from a pool at each call, and may free it while a recorded CUDA graph still uses it. As
further results of the call it is planned with all other tensors, and counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import tvm
from tvm import relax
from tvm.s_tir import SBlock
from tvm.s_tir.stmt import SBlockRealize
from tvm.tirx import PrimFunc

_GLOBAL = ("", "global")


def with_workspaces(module: tvm.IRModule) -> tvm.IRModule:
    """The graph of scheduled kernels, with each kernel's memory between its parts handed in by the graph."""
    functions, changed = {}, {}
    for variable, function in module.functions_items():
        if isinstance(function, PrimFunc) and (buffers := _between(function)):
            longer = _handed_in(function, buffers)
            variable = _variable(variable.name_hint, longer)
            functions[variable] = longer
            changed[variable.name_hint] = _Changed(variable, [_tensor(buffer) for buffer in buffers])
        else:
            functions[variable] = function
    answer = tvm.IRModule(functions, attrs=module.attrs)
    if changed:
        answer["main"] = _Caller(changed).visit_expr(answer["main"])
    return answer


@dataclass(frozen=True)
class _Changed:
    """A kernel with further results: its new name in the graph, and their types."""

    variable: tvm.ir.GlobalVar
    further: list[relax.TensorType]


def _tensor(buffer: tvm.tirx.Var) -> relax.TensorType:
    return relax.TensorType(buffer.ty.shape, buffer.ty.dtype)


def _variable(name: str, function: PrimFunc) -> tvm.ir.GlobalVar:
    variable = tvm.ir.GlobalVar(name)
    parameters = [_tensor(parameter) for parameter in function.params]
    relax.expr._update_type(variable, relax.FuncType(parameters, relax.TupleType([]), purity=False))
    return variable


def _root(function: PrimFunc) -> SBlock:
    assert isinstance(function.body, SBlockRealize)
    return function.body.block


def _between(function: PrimFunc) -> list[tvm.tirx.Var]:
    return [buffer for buffer in _root(function).alloc_buffers if buffer.ty.storage_scope in _GLOBAL]


def _handed_in(function: PrimFunc, buffers: list[tvm.tirx.Var]) -> PrimFunc:
    root = _root(function)
    kept = [buffer for buffer in root.alloc_buffers if buffer.ty.storage_scope not in _GLOBAL]
    body = SBlockRealize(
        [],
        True,
        SBlock(
            root.iter_vars,
            root.reads,
            root.writes,
            root.name_hint,
            root.body,
            root.init,
            kept,
            root.match_buffers,
            root.annotations,
        ),
    )
    return PrimFunc([*function.params, *buffers], body, function.ret_type, function.attrs)


@relax.expr_functor.mutator
class _Caller(relax.PyExprMutator):
    """Calls of those kernels have further results, which nobody reads."""

    def __init__(self, changed: Mapping[str, _Changed]) -> None:
        super().__init__()
        self._changed = changed

    def visit_call_(self, call: relax.Call) -> relax.Expr:
        call = super().visit_call_(call)
        if call.op != tvm.ir.Op.get("relax.call_tir") or call.args[0].name_hint not in self._changed:
            return call
        kernel = self._changed[call.args[0].name_hint]
        several = isinstance(call.ty, relax.TupleType)
        results = list(call.ty.fields) if several else [call.ty]
        answer = self.builder_.emit(relax.call_tir(kernel.variable, call.args[1], [*results, *kernel.further]))
        first = [relax.TupleGetItem(answer, number) for number in range(len(results))]
        return relax.Tuple(first) if several else first[0]
