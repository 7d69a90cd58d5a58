"""``relax.image.resize2d`` of NHWC images, linear, cubic, or to the pixel at or below."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import relax

from evaluators.compile.kernels.resize import cubic_taps, linear_taps, nearest, nearest_lines, sources, weighted
from evaluators.compile.legalize.context import Context, whole

_BROADCAST = {"op_pattern": 1}
"""TVM's name of operators that are drawn into element-wise work, also behind a product: each element reads one."""


def resized(builder: relax.BlockBuilder, call: relax.Call, context: Context) -> relax.Expr | None:
    """A resize whose lines and weights are tables; other roundings are not."""
    attrs = call.attrs
    if str(attrs.layout) != "NHWC" or str(call.args[0].ty.dtype) != "float32":
        return None
    extents, targets = whole(call.args[0].ty.shape)[1:3], whole(call.ty.shape)[1:3]
    mode = str(attrs.coordinate_transformation_mode)
    rows, columns = (sources(*sizes, mode) for sizes in zip(extents, targets, strict=True))
    if rows is None or columns is None:
        return None
    tables = [_tables(attrs, at, extent) for at, extent in zip((rows, columns), extents, strict=True)]
    if not tables[0]:
        return None
    constants = [relax.const(table, str(table.dtype)) for of_axis in tables for table in of_axis]
    build, attributes = (nearest, _BROADCAST) if len(constants) == 2 else (weighted, {})
    return builder.call_te(build, call.args[0], *constants, primfunc_name_hint="resize", primfunc_attrs=attributes)


def _tables(attrs: Any, at: NDArray[np.float64], extent: int) -> tuple[NDArray[Any], ...]:
    """Lines and their weights; only lines where there is one for each place; none where they are not known."""
    if str(attrs.method) == "linear":
        return linear_taps(at, extent)
    if str(attrs.method) == "cubic" and int(attrs.cubic_exclude) == 0:
        return cubic_taps(at, extent, float(attrs.cubic_alpha))
    if str(attrs.method) == "nearest_neighbor" and str(attrs.rounding_method) == "floor":
        return (nearest_lines(at, extent),)
    return ()
