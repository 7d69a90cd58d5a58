"""``relax.sort``, ``argsort`` and ``topk``, which TVM leaves to a library that devices need not have."""

from __future__ import annotations

from tvm import relax, te, topi

from evaluators.compile.kernels.order import order as places_in_order
from evaluators.compile.legalize.context import Context, whole


def order(builder: relax.BlockBuilder, call: relax.Call, context: Context) -> relax.Expr | None:
    """Where the sorted elements stand."""
    dtype = str(call.ty.dtype)
    places = _places(builder, call, bool(call.attrs.descending))
    return builder.call_te(lambda at: topi.cast(at, dtype), places, primfunc_name_hint="places")


def ordered(builder: relax.BlockBuilder, call: relax.Call, context: Context) -> relax.Expr | None:
    """The sorted elements."""
    places = _places(builder, call, bool(call.attrs.descending))
    return _picked(builder, call.args[0], places, _axis(call), whole(call.ty.shape))


def extremes(builder: relax.BlockBuilder, call: relax.Call, context: Context) -> relax.Expr | None:
    """The greatest or least elements along an axis, where they stand, or both."""
    kinds = call.ty.fields if isinstance(call.ty, relax.TupleType) else [call.ty]
    names = ("values", "indices") if len(kinds) == 2 else (str(call.attrs.ret_type),)
    places = _places(builder, call, bool(call.attrs.largest))
    results = []
    for name, kind in zip(names, kinds, strict=True):
        shape, dtype = whole(kind.shape), str(kind.dtype)
        if name == "values":
            results.append(_picked(builder, call.args[0], places, _axis(call), shape))
            continue

        def first(at: te.Tensor, shape: tuple[int, ...] = shape, dtype: str = dtype) -> te.Tensor:
            return te.compute(shape, lambda *index: at[index].astype(dtype), "first")

        results.append(builder.emit(builder.call_te(first, places, primfunc_name_hint="places")))
    return relax.Tuple(results) if len(results) == 2 else results[0]


def _axis(call: relax.Call) -> int:
    return int(call.attrs.axis) % len(call.args[0].ty.shape)


def _places(builder: relax.BlockBuilder, call: relax.Call, descending: bool) -> relax.Var:
    axis = _axis(call)

    def build(data: te.Tensor) -> te.Tensor:
        return places_in_order(data, axis, descending)

    return builder.emit(builder.call_te(build, call.args[0], primfunc_name_hint="order"))


def _picked(
    builder: relax.BlockBuilder, data: relax.Expr, places: relax.Expr, axis: int, shape: tuple[int, ...]
) -> relax.Var:
    """The first elements of each line in their order."""

    def build(values: te.Tensor, at: te.Tensor) -> te.Tensor:
        return te.compute(shape, lambda *index: values[(*index[:axis], at[index], *index[axis + 1 :])], "in_order")

    return builder.emit(builder.call_te(build, data, places, primfunc_name_hint="sorted"))
