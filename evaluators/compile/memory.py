"""Peak memory of one inference, read from TVM's static memory plan."""

from __future__ import annotations

import math

import tvm
from tvm import relax
from tvm.ir import GenericConst


def planned_bytes(module: tvm.IRModule) -> int:
    """Bytes that ``main`` holds at once: planned storage of activations, output, weights, and its input.

    ``module`` is a relax module after ``StaticPlanBlockMemory``. Storage that the plan uses again is counted
    once. Not counted are padded rows inside a kernel (at most a few tens of kB on the stack) and the code.
    """
    main = module["main"]
    storage = 0
    constants: dict[int, int] = {}

    def visit(expression: relax.Expr) -> None:
        nonlocal storage
        if isinstance(expression, GenericConst) and isinstance(expression.value, tvm.runtime.Tensor):
            constants[expression.value.data_ptr()] = _bytes(expression.ty)
        elif isinstance(expression, relax.Call) and isinstance(expression.op, tvm.ir.Op):
            if expression.op.name == "relax.memory.alloc_storage":
                storage += math.prod(int(extent) for extent in expression.args[0].values)
            elif expression.op.name == "relax.builtin.alloc_tensor":
                storage += _bytes(expression.ty)

    relax.analysis.post_order_visit(main.body, visit)
    return storage + sum(constants.values()) + sum(_bytes(parameter.ty) for parameter in main.params)


def _bytes(tensor: relax.TensorType) -> int:
    bits: int = tvm.DataType(str(tensor.dtype)).bits
    return math.prod(int(extent) for extent in tensor.shape) * bits // 8
