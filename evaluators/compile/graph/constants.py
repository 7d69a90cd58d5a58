"""What depends on constants alone, computed now: positions, masks, embeddings of fixed tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import relax
from tvm.ir import GenericConst
from tvm.runtime import Tensor, tensor

_LARGEST = 4_000_000
"""Elements of a result that is kept as a constant; above it is made at run time."""
Values = Sequence[NDArray[Any]]


def fold_constants(function: relax.Function) -> relax.Function:
    """Replace calls of plain operators on constants by their results."""
    return _Folder().visit_expr(function)


def _take(call: relax.Call, values: Values) -> NDArray[Any]:
    axis = call.attrs.axis
    return np.take(values[0], values[1], axis=None if axis is None else int(axis))


def _cast(call: relax.Call, values: Values) -> NDArray[Any]:
    return values[0].astype(str(call.ty.dtype))


def _reshaped(call: relax.Call, values: Values) -> NDArray[Any]:
    return values[0].reshape(_shape(call))


def _broadcast(call: relax.Call, values: Values) -> NDArray[Any]:
    return np.broadcast_to(values[0], _shape(call))


def _elementwise(compute: Callable[..., Any]) -> Callable[[relax.Call, Values], NDArray[Any]]:
    return lambda call, values: np.asarray(compute(*values), dtype=str(call.ty.dtype))


def _gather(call: relax.Call, values: Values) -> NDArray[Any]:
    return np.take_along_axis(values[0], values[1], axis=int(call.attrs.axis))


def _sliced(call: relax.Call, values: Values) -> NDArray[Any]:
    axes, begins, ends, steps = ([int(entry.value) for entry in argument] for argument in call.args[1:5])
    parts = [slice(None)] * values[0].ndim
    for axis, begin, end, step in zip(axes, begins, ends, steps, strict=True):
        parts[axis] = slice(begin, end, step)
    return values[0][tuple(parts)].reshape(_shape(call))


def _joined(call: relax.Call, values: Values) -> NDArray[Any]:
    return np.concatenate(values, axis=None if call.attrs.axis is None else int(call.attrs.axis))


def _indexed(call: relax.Call, values: Values) -> NDArray[Any]:
    data, *indices = values
    return np.asarray(data[tuple(indices)])


def _sums(call: relax.Call, values: Values) -> NDArray[Any]:
    axis = call.attrs.axis
    return np.cumsum(values[0], axis=None if axis is None else int(axis)).astype(str(call.ty.dtype))


def _shape(call: relax.Call) -> list[int]:
    return [int(extent) for extent in call.ty.shape]


_OPERATORS: Mapping[str, Callable[[relax.Call, Values], NDArray[Any]]] = {
    "relax.add": _elementwise(np.add),
    "relax.subtract": _elementwise(np.subtract),
    "relax.multiply": _elementwise(np.multiply),
    "relax.maximum": _elementwise(np.maximum),
    "relax.minimum": _elementwise(np.minimum),
    "relax.greater_equal": _elementwise(np.greater_equal),
    "relax.greater": _elementwise(np.greater),
    "relax.less_equal": _elementwise(np.less_equal),
    "relax.less": _elementwise(np.less),
    "relax.equal": _elementwise(np.equal),
    "relax.not_equal": _elementwise(np.not_equal),
    "relax.logical_and": _elementwise(np.logical_and),
    "relax.logical_or": _elementwise(np.logical_or),
    "relax.logical_not": _elementwise(np.logical_not),
    "relax.bitwise_and": _elementwise(np.bitwise_and),
    "relax.bitwise_or": _elementwise(np.bitwise_or),
    "relax.where": _elementwise(np.where),
    "relax.astype": _cast,
    "relax.reshape": _reshaped,
    "relax.expand_dims": _reshaped,
    "relax.squeeze": _reshaped,
    "relax.broadcast_to": _broadcast,
    "relax.strided_slice": _sliced,
    "relax.cumsum": _sums,
    "relax.take": _take,
    "relax.gather_elements": _gather,
    "relax.index_tensor": _indexed,
    "relax.concat": _joined,
}


@relax.expr_functor.mutator
class _Folder(relax.PyExprMutator):
    def visit_call_(self, call: relax.Call) -> relax.Expr:
        call = self.visit_expr_post_order(call)
        if not isinstance(call, relax.Call) or not hasattr(call.op, "name"):
            return call
        name = call.op.name
        if name == "relax.arange":
            return self._range(call)
        compute = _OPERATORS.get(name)
        exclusive = name == "relax.cumsum" and bool(call.attrs.exclusive)
        if compute is None or exclusive or not _small(call):
            return call
        values = self._values(call)
        return call if values is None else _constant(compute(call, values))

    def _values(self, call: relax.Call) -> Values | None:
        """The call's tensors, when all are constants."""
        found = []
        for argument in self._arguments(call):
            if isinstance(argument, relax.ShapeExpr):
                continue
            value = self._constant(argument)
            if value is None:
                return None
            found.append(value)
        return found

    def _arguments(self, call: relax.Call) -> list[relax.Expr]:
        """The arguments, those of tuples one by one; of a slice the data alone."""
        if call.op.name == "relax.strided_slice":
            return [call.args[0]]
        found: list[relax.Expr] = []
        for argument in call.args:
            whole = self.lookup_binding(argument) if isinstance(argument, relax.Var) else None
            parts = whole if isinstance(whole, relax.Tuple) else argument
            found.extend(parts.fields if isinstance(parts, relax.Tuple) else [parts])
        return found

    def _constant(self, expression: relax.Expr) -> NDArray[Any] | None:
        if isinstance(expression, relax.Var):
            expression = self.lookup_binding(expression)
        if isinstance(expression, GenericConst) and isinstance(expression.value, Tensor):
            return np.asarray(expression.value.numpy())
        return None

    def _range(self, call: relax.Call) -> relax.Expr:
        try:
            start, stop, step = (int(argument.value) for argument in call.args)
        except (AttributeError, TypeError, ValueError):
            return call
        return _constant(np.arange(start, stop, step, dtype=str(call.ty.dtype)))


def _constant(array: NDArray[Any]) -> GenericConst:
    return relax.const(tensor(np.array(array, order="C")))


def _small(call: relax.Call) -> bool:
    try:
        return int(np.prod(_shape(call), dtype=np.int64)) <= _LARGEST
    except (AttributeError, TypeError):
        return False
