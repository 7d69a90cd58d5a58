"""Operators on each element by itself, and those that only say how elements are seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tvm import relax

from evaluators.compile.graph.access import array_of, static_shape, with_attributes
from evaluators.compile.graph.value import Emitter, Handler, Value, layout_of


def _element_wise(call: relax.Call, operands: Sequence[Any], emitter: Emitter) -> Value | None:
    """Laid out as its largest operands lie, where they lie alike; the others follow, constants now.

    Single numbers have no axes: they become part of the code.
    """
    shape = static_shape(call)
    tensors = [operand for operand in operands if isinstance(operand, Value)]
    leaders = [value for value in tensors if value.shape == shape and not value.is_constant]
    if not leaders or any(value.view != leaders[0].view for value in leaders):
        return None
    leader = leaders[0]
    layout = layout_of(leader)
    if layout is None:
        return None
    arguments = []
    for operand in operands:
        placed = operand
        if isinstance(operand, Value) and operand.is_constant and math.prod(operand.shape) == 1:
            array = array_of(operand.stored)
            placed = relax.const(array.reshape(()), str(array.dtype))
        elif isinstance(operand, Value):
            aligned = operand.view.reshape((1,) * (len(shape) - len(operand.shape)) + operand.shape)
            if aligned is None:
                return None
            alone = {axis: 1 for axis, extent in enumerate(aligned.shape) if extent == 1}
            found = layout.place(Value(operand.stored, aligned), alone)
            if found is None:
                return None
            placed = emitter.store(found)
            if not _spreads(static_shape(placed), leader.stored_shape):
                return None
        arguments.append(placed)
    return Value(emitter.emit(with_attributes(call, arguments)).stored, leader.view)


def _spreads(shape: Sequence[int], full: Sequence[int]) -> bool:
    """Whether a tensor broadcasts to the full shape: not where a repeated axis lies within a joined one."""
    pairs = zip(reversed(shape), reversed(full), strict=False)
    return len(shape) <= len(full) and all(extent in (1, whole) for extent, whole in pairs)


def _reshape(call: relax.Call, operands: Sequence[Any], emitter: Emitter) -> Value:
    (value, *_) = operands
    shape = static_shape(call)
    view = value.view.reshape(shape)
    if view is None:
        value = emitter.as_stored(value)
        view = value.view.reshape(shape)
    return Value(value.stored, view)


def _permute(call: relax.Call, operands: Sequence[Any], emitter: Emitter) -> Value:
    (value,) = operands
    rank = len(value.shape)
    given = call.attrs.axes
    axes = [int(axis) % rank for axis in given] if given is not None else list(range(rank))[::-1]
    return Value(value.stored, value.view.permute(axes))


def _pixel_shuffle(call: relax.Call, operands: Sequence[Any], emitter: Emitter) -> Value | None:
    """A move of data only: (N, C r r, H, W) to (N, C, H r, W r)."""
    (value,) = operands
    factor = int(call.attrs.upscale_factor)
    if len(value.shape) != 4:
        return None
    batch, channels, height, width = value.shape
    split = value.view.reshape((batch, channels // factor**2, factor, factor, height, width))
    joined = split and split.permute([0, 1, 4, 2, 5, 3]).reshape(static_shape(call))
    return Value(value.stored, joined) if joined else None


def _same(call: relax.Call, operands: Sequence[Any], emitter: Emitter) -> Value | None:
    """Operators that do nothing to a tensor of that shape and type."""
    value = operands[0]
    unchanged = value.shape == static_shape(call) and str(value.stored.ty.dtype) == str(call.ty.dtype)
    return value if unchanged else None


def _cast(call: relax.Call, operands: Sequence[Any], emitter: Emitter) -> Value | None:
    return _same(call, operands, emitter) or _element_wise(call, operands, emitter)


_ROUNDING = "abs ceil floor round sign trunc negative"
_TRANSCENDENT = "cos cosh sin sinh tan tanh acos acosh asin asinh atan atanh erf exp log sqrt rsqrt square sigmoid"
_PREDICATES = "isfinite isinf isnan logical_not bitwise_not clip where"
_ACTIVATIONS = "relu relu6 leakyrelu gelu gelu_tanh selu silu softplus"
_ARITHMETIC = "add subtract multiply divide floor_divide floor_mod mod power maximum minimum log_add_exp atan2"
_COMPARISONS = "equal not_equal greater greater_equal less less_equal logical_and logical_or logical_xor"
_NAMES = [
    *(
        f"relax.{name}"
        for name in f"{_ROUNDING} {_TRANSCENDENT} {_PREDICATES} {_ARITHMETIC} {_COMPARISONS}".split()
    ),
    *(f"relax.nn.{name}" for name in _ACTIVATIONS.split()),
]

HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(_NAMES, _element_wise),
    **{f"relax.{name}": _reshape for name in ("reshape", "flatten", "expand_dims", "squeeze")},
    "relax.permute_dims": _permute,
    "relax.nn.pixel_shuffle": _pixel_shuffle,
    "relax.broadcast_to": _same,
    "relax.astype": _cast,
}
