"""Reading and writing the constants of a graph."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import relax
from tvm.ir import GenericConst

Array = NDArray[np.float32]


def array_of(constant: GenericConst) -> Array:
    return constant.value.numpy()  # type: ignore[no-any-return]


def constant(array: Array) -> GenericConst:
    return relax.const(np.ascontiguousarray(array))


def static_shape(expression: relax.Expr) -> tuple[int, ...]:
    """The shape of a tensor of known extents; raises ``TypeError`` when one is not known."""
    return tuple(int(extent) for extent in expression.ty.shape)


def number_of(expression: Any) -> float:
    return float(expression.value)
