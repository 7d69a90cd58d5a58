"""Operators of torch that pick, place or order elements, where TVM's importer has none or gets them wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import fx
from tvm import relax

from evaluators.compile.torch_arguments import arguments

Emit = Callable[[relax.Expr], relax.Var]


def _index(node: fx.Node, importer: Any) -> relax.Var:
    """``aten.index``: TVM's importer reads outside for negative indices and knows few places for several."""
    data, indices = importer.retrieve_args(node)[:2]
    emit, given = importer.block_builder.emit, _given(indices)
    if len(given) == 1:
        ((axis, index),) = given.items()
        return emit(relax.op.take(data, index, axis=axis, mode="wrap"))
    places = _Places(data, given, emit)
    picked = emit(relax.op.take(places.in_front(data), places.flat, axis=0, mode="wrap"))
    return emit(relax.op.permute_dims(emit(relax.op.reshape(picked, places.front_shape)), places.back))


def _index_put(node: fx.Node, importer: Any) -> relax.Var:
    """``aten.index_put``, over any of the axes, also adding up."""
    given, emit = arguments(node, importer), importer.block_builder.emit
    data, indices, values = given["self"], given["indices"], given["values"]
    places = _Places(data, _given(indices), emit)
    rows, count = places.in_front(data), math.prod(places.index_shape)
    shape = [places.front_shape[place] for place in places.back]
    updates = emit(relax.op.permute_dims(emit(relax.op.broadcast_to(values, shape)), _inverse(places.back)))
    width = int(rows.ty.shape[1])
    updates = emit(relax.op.reshape(updates, [count, width]))
    index = emit(relax.op.broadcast_to(emit(relax.op.reshape(places.flat, [count, 1])), [count, width]))
    reduction = "add" if given["accumulate"] else "update"
    placed = emit(relax.op.scatter_elements(rows, index, updates, 0, reduction))
    placed = emit(relax.op.reshape(placed, places.permuted_shape))
    return emit(relax.op.permute_dims(placed, _inverse(places.order)))


def _given(indices: Sequence[relax.Expr | None]) -> dict[int, relax.Expr]:
    given = {axis: index for axis, index in enumerate(indices) if index is not None}
    if any(str(index.ty.dtype) == "bool" for index in given.values()):
        raise ValueError("an index of booleans gives a size that depends on the input")
    return given


class _Places:
    """Several indices as one into their axes joined in front: ``flat`` of ``index_shape``.

    ``back`` moves (index axes, other axes) to where torch has them: at the first of adjacent axes, else in front.
    """

    def __init__(self, data: relax.Expr, given: Mapping[int, relax.Expr], emit: Emit) -> None:
        self._emit = emit
        shape = [int(extent) for extent in data.ty.shape]
        axes = list(given)
        others = [axis for axis in range(len(shape)) if axis not in given]
        self.order = [*axes, *others]
        self.permuted_shape = [shape[axis] for axis in self.order]
        self.index_shape = list(
            np.broadcast_shapes(*(tuple(int(extent) for extent in index.ty.shape) for index in given.values()))
        )
        self.flat = self._joined(given, shape)
        self.front_shape = [*self.index_shape, *(shape[axis] for axis in others)]
        rank, before = len(self.index_shape), axes[0] if axes[-1] - axes[0] == len(axes) - 1 else 0
        self.back = [
            *range(rank, rank + before),
            *range(rank),
            *range(rank + before, len(self.front_shape)),
        ]

    def _joined(self, given: Mapping[int, relax.Expr], shape: Sequence[int]) -> relax.Expr:
        flat: relax.Expr = relax.const(0, "int64")
        for axis, index in given.items():
            extent = relax.const(shape[axis], "int64")
            wide = self._emit(relax.op.astype(index, "int64"))
            wrapped = self._emit(relax.op.floor_mod(wide, extent))
            flat = self._emit(relax.op.add(self._emit(relax.op.multiply(flat, extent)), wrapped))
        return self._emit(relax.op.broadcast_to(flat, self.index_shape))

    def in_front(self, data: relax.Expr) -> relax.Var:
        """The data as rows for the joined axes."""
        count = math.prod(self.permuted_shape) // max(1, math.prod(self._others))
        moved = self._emit(relax.op.permute_dims(data, self.order))
        return self._emit(relax.op.reshape(moved, [count, math.prod(self._others)]))

    @property
    def _others(self) -> list[int]:
        return self.front_shape[len(self.index_shape) :]


def _inverse(order: Sequence[int]) -> list[int]:
    return sorted(range(len(order)), key=lambda place: order[place])


def _scattered(node: fx.Node, importer: Any) -> relax.Var:
    """``aten.scatter_add`` and ``scatter_reduce``, which start from what is there."""
    reductions = {"sum": "add", "amax": "max", "amin": "min", "prod": "mul"}
    given = arguments(node, importer)
    name = given.get("reduce", "sum")
    if name not in reductions or not given.get("include_self", True):
        raise ValueError(f"scattering by {name} is not supported")
    operands = (given[operand] for operand in ("self", "index", "src", "dim"))
    return importer.block_builder.emit(relax.op.scatter_elements(*operands, reductions[name]))


def _extremum(reduce: Callable[..., relax.Expr], place: Callable[..., relax.Expr]) -> Any:
    """The greatest or least along an axis, and where it is."""

    def convert(node: fx.Node, importer: Any) -> relax.Var:
        given, emit = arguments(node, importer), importer.block_builder.emit
        operands = given["self"], given["dim"], given["keepdim"]
        return relax.Tuple([emit(reduce(*operands)), emit(place(*operands))])

    return convert


def _sorted(node: fx.Node, importer: Any) -> relax.Var:
    """``aten.sort``, values and places, always stable."""
    given = arguments(node, importer)
    data, axis = given["self"], given["dim"]
    length = int(data.ty.shape[axis])
    return importer.block_builder.emit(relax.op.topk(data, length, axis, "both", given["descending"], "int64"))


def _kth_value(node: fx.Node, importer: Any) -> relax.Var:
    given, emit = arguments(node, importer), importer.block_builder.emit
    count, axis = given["k"], given["dim"]
    least = emit(relax.op.topk(given["self"], count, axis, "both", False, "int64"))
    at = relax.const([count - 1] if given["keepdim"] else count - 1, "int64")
    return relax.Tuple([emit(relax.op.take(emit(least[part]), at, axis, mode="wrap")) for part in range(2)])


def _searched(node: fx.Node, importer: Any) -> relax.Var:
    """``aten.searchsorted`` in one list for all."""
    given = arguments(node, importer)
    boundaries, right = given["sorted_sequence"], given["right"] or given["side"] == "right"
    if len(boundaries.ty.shape) != 1 or given["sorter"] is not None:
        raise ValueError("only searching in one list, without a sorter, is supported")
    found = relax.op.bucketize(given["self"], boundaries, out_int32=given["out_int32"], right=right)
    return importer.block_builder.emit(found)


def _windows(node: fx.Node, importer: Any) -> relax.Var:
    """``Tensor.unfold``: windows along an axis, their elements as the last axis."""
    given, emit = arguments(node, importer), importer.block_builder.emit
    data, size, step = given["self"], given["size"], given["step"]
    rank = len(data.ty.shape)
    axis = given["dimension"] % rank
    starts = np.arange(0, int(data.ty.shape[axis]) - size + 1, step)
    picked = emit(relax.op.take(data, relax.const(starts[:, None] + np.arange(size), "int64"), axis, mode="wrap"))
    order = [place for place in range(rank + 1) if place != axis + 1]
    return emit(relax.op.permute_dims(picked, [*order, axis + 1]))


CONVERTERS: Mapping[str, Callable[[fx.Node, Any], relax.Var]] = {
    "index.Tensor": _index,
    "_unsafe_index.Tensor": _index,
    "index_put.default": _index_put,
    "_unsafe_index_put.default": _index_put,
    "scatter_add.default": _scattered,
    "scatter_reduce.two": _scattered,
    "max.dim": _extremum(relax.op.max, relax.op.argmax),
    "min.dim": _extremum(relax.op.min, relax.op.argmin),
    "sort.default": _sorted,
    "sort.stable": _sorted,
    "kthvalue.default": _kth_value,
    "searchsorted.Tensor": _searched,
    "unfold.default": _windows,
}
