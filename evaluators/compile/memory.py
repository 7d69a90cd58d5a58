"""Peak memory of one inference, read from TVM's static memory plan and from the kernels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import zip_longest

import tvm
from tvm import relax, s_tir, tirx
from tvm.ir import GenericConst
from tvm.tirx import ForKind, PrimFunc

_PAGE = 4096
"""Storage is handed out in pages by TVM's allocators (``PooledAllocator``, ``WorkspacePool``)."""
_ON_STACK = 1024
"""Arrays inside a kernel below so many bytes lie on the stack (TVM's ``LowerTVMBuiltin``)."""
_COMPACT = tvm.transform.Sequential(
    [
        s_tir.transform.PlanAndUpdateBufferAllocationLocation(),
        s_tir.transform.ConvertBlocksToOpaque(),
        s_tir.transform.CompactBufferAllocation(),
    ]
)
"""After these a kernel's arrays have the place and size that its machine code gives them."""


def planned_bytes(module: tvm.IRModule) -> int:
    """Bytes that the programs of a module hold: planned storage of activations, output, weights, and input.

    ``module`` is a relax module after ``StaticPlanBlockMemory``. Storage that the plan uses again is counted
    once, as are weights that several programs read; activations of one do not take the place of another's. Not
    counted are what kernels keep inside (``workspace_bytes``), the code and the virtual machine.
    """
    programs = [each for _, each in module.functions_items() if isinstance(each, relax.Function)]
    storage = 0
    constants: dict[int, int] = {}

    def visit(expression: relax.Expr) -> None:
        nonlocal storage
        if isinstance(expression, GenericConst) and isinstance(expression.value, tvm.runtime.Tensor):
            constants[expression.value.data_ptr()] = _bytes(expression.ty)
        elif isinstance(expression, relax.Call) and isinstance(expression.op, tvm.ir.Op):
            if expression.op.name == "relax.memory.alloc_storage":
                storage += _paged(math.prod(int(extent) for extent in expression.args[0].values))
            elif expression.op.name == "relax.builtin.alloc_tensor":
                storage += _bytes(expression.ty)

    for program in programs:
        relax.analysis.post_order_visit(program.body, visit)
    inputs = sum(_bytes(parameter.ty) for program in programs for parameter in program.params)
    return storage + sum(constants.values()) + inputs


def workspace_bytes(module: tvm.IRModule, threads: int) -> int:
    """Bytes that the scheduled kernels of a CPU keep for arrays of their own: padded rows, transformed tiles.

    Every one of ``threads`` has a pool that keeps what it once handed out: as many blocks as a kernel wants at
    once, each as large as any kernel wanted it.
    """
    wanted = [sorted(_arrays(kernel, threads), reverse=True) for kernel in _compacted(module)]
    return sum(max(blocks) for blocks in zip_longest(*wanted, fillvalue=0))


def _compacted(module: tvm.IRModule) -> Iterator[PrimFunc]:
    """The kernels that have arrays, with these in their final size."""
    kernels = {name: each for name, each in module.functions_items() if isinstance(each, PrimFunc)}
    with_arrays = {name: kernel for name, kernel in kernels.items() if _arrays(kernel, 1)}
    for _, kernel in _COMPACT(tvm.IRModule(with_arrays)).functions_items():
        yield kernel


def _arrays(kernel: PrimFunc, threads: int) -> list[int]:
    """Bytes of the arrays of a kernel that do not lie on the stack; one in a parallel loop is each thread's."""
    found: list[int] = []

    def add(buffer: tirx.Buffer, copies: int) -> None:
        if (size := _bytes(buffer)) >= _ON_STACK:
            found.extend([_paged(size)] * copies)

    def walk(statement: object, copies: int) -> None:
        if isinstance(statement, tirx.AllocBuffer):
            add(statement.buffer, copies)
        elif isinstance(statement, tirx.SeqStmt):
            for each in statement.seq:
                walk(each, copies)
        elif isinstance(statement, tirx.For):
            walk(statement.body, threads if statement.kind == ForKind.PARALLEL else copies)
        elif isinstance(statement, s_tir.SBlockRealize):
            for buffer in statement.block.alloc_buffers:
                add(buffer, copies)
            walk(statement.block.body, copies)
        else:
            for part in ("body", "then_case", "else_case"):
                if (inner := getattr(statement, part, None)) is not None:
                    walk(inner, copies)

    walk(kernel.body, 1)
    return found


def _paged(size: int) -> int:
    return -(-size // _PAGE) * _PAGE


def _bytes(tensor: relax.TensorType | tirx.Buffer) -> int:
    dtype = tvm.DataType(str(tensor.dtype))
    bits: int = dtype.bits * dtype.lanes
    return math.prod(int(extent) for extent in tensor.shape) * bits // 8
