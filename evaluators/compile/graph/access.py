"""Reading and writing the constants of a graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import relax
from tvm.ir import GenericConst

Array = NDArray[np.float32]


def array_of(constant: GenericConst) -> Array:
    return constant.value.numpy()  # type: ignore[no-any-return]


def constant(array: Array) -> GenericConst:
    return relax.const(np.ascontiguousarray(array), str(array.dtype))


def static_shape(expression: relax.Expr) -> tuple[int, ...]:
    """The shape of a tensor of known extents; raises ``TypeError`` when one is not known."""
    shape = expression.ty.shape
    return tuple(int(extent) for extent in getattr(shape, "values", shape))


def with_attributes(call: relax.Call, arguments: Sequence[Any], **changed: object) -> relax.Call:
    """The same operator on other arguments, with some of its attributes changed."""
    if not changed:
        return relax.Call(call.op, arguments, call.attrs)
    kind = type(call.attrs).__tvm_ffi_type_info__
    given = {field.name: getattr(call.attrs, field.name) for field in kind.fields}
    return relax.Call(call.op, arguments, tvm.ir.make_node(kind.type_key, **{**given, **changed}))


def number_of(expression: Any) -> float:
    return float(expression.value)
