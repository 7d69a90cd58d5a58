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


def number_of(expression: Any) -> float:
    return float(expression.value)
