"""Operators along axes: they work on what is stored, along the axes that are stored for these."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tvm import relax

from evaluators.compile.graph.access import static_shape, with_attributes
from evaluators.compile.graph.value import Emitter, Handler, Value, layout_of
from evaluators.compile.graph.view import identity


def _reduction(call: relax.Call, operands: Sequence[Any], emitter: Emitter) -> Value | None:
    """Over some axes, or all. What is reduced is kept as an axis of one element where the tensor is stored."""
    (value,) = operands
    layout = layout_of(value)
    given = call.attrs.axis
    reduced = [int(axis) for axis in given] if given is not None else list(range(len(value.shape)))
    longer = [axis for axis in reduced if value.shape[axis] > 1]
    axes = layout and layout.axes(longer)
    if not layout or not axes:
        return None
    result = emitter.emit(with_attributes(call, [value.stored], axis=axes, keepdims=True))
    gone = {axis % len(value.shape): 1 for axis in longer}
    return Value(result.stored, layout.resized(static_shape(call), gone))


def _place_of_extremum(call: relax.Call, operands: Sequence[Any], emitter: Emitter) -> Value | None:
    """``argmax`` and ``argmin`` along one axis."""
    (value,) = operands
    layout = layout_of(value)
    axis = call.attrs.axis
    if layout is None or axis is None:
        return None
    stored = layout.axis(int(axis))
    if stored is None:
        return None
    result = emitter.emit(with_attributes(call, [value.stored], axis=stored, keepdims=True))
    return Value(result.stored, layout.resized(static_shape(call), {int(axis) % len(value.shape): 1}))


def _along_rows(call: relax.Call, operands: Sequence[Any], emitter: Emitter) -> Value | None:
    """Softmax and the like, where the values lie in order, or at least the axis is the one stored last."""
    value = operands[0]
    layout = layout_of(value)
    stored = layout and layout.axis(int(call.attrs.axis))
    if not layout or stored is None:
        return None
    if stored != len(layout.stored_shape) - 1 and not value.view.is_plain:
        return None
    return Value(emitter.emit(with_attributes(call, [value.stored], axis=stored)).stored, value.view)


def _layer_norm(call: relax.Call, operands: Sequence[Any], emitter: Emitter) -> Value | None:
    value, scale, shift = operands
    layout = layout_of(value)
    if layout is None or not value.view.is_plain:
        return None
    given = [int(axis) for axis in call.attrs.axes]
    axes = layout.axes(given)
    if axes is None or len(axes) != len(given):
        return None
    arguments = [value.stored, emitter.store(scale), emitter.store(shift)]
    return Value(emitter.emit(with_attributes(call, arguments, axes=axes)).stored, value.view)


def _concat(call: relax.Call, operands: Sequence[Any], emitter: Emitter) -> Value | None:
    (parts,) = operands
    shape = static_shape(call)
    if not isinstance(parts, tuple) or call.attrs.axis is None:
        return None
    axis = int(call.attrs.axis) % len(shape)
    leader = next((part for part in parts if not part.is_constant and part.shape[axis] > 1), parts[0])
    layout = layout_of(leader)
    stored = layout and layout.axis(axis)
    if not layout or stored is None:
        return None
    placed = [layout.place(part, {axis: part.shape[axis]}) for part in parts]
    arguments = [emitter.store(part) for part in placed if part is not None]
    if len(arguments) != len(parts):
        return None
    result = emitter.emit(with_attributes(call, [relax.Tuple(arguments)], axis=stored))
    return Value(result.stored, layout.resized(shape, {axis: shape[axis]}))


def _split(call: relax.Call, operands: Sequence[Any], emitter: Emitter) -> tuple[Value, ...] | None:
    (value,) = operands
    layout = layout_of(value)
    axis = int(call.attrs.axis) % len(value.shape)
    stored = layout and layout.axis(axis)
    if not layout or stored is None:
        return None
    parts = emitter.builder.emit(with_attributes(call, [value.stored], axis=stored))
    shapes = [tuple(int(extent) for extent in part.shape) for part in call.ty.fields]
    return tuple(
        Value(emitter.builder.emit(parts[index]), layout.resized(shape, {axis: shape[axis]}))
        for index, shape in enumerate(shapes)
    )


def _slice(call: relax.Call, operands: Sequence[Any], emitter: Emitter) -> Value | None:
    value, axes, *bounds = operands
    shape = static_shape(call)
    layout = layout_of(value)
    given = [int(axis) % len(shape) for axis in axes]
    stored = [layout and layout.axis(axis) for axis in given]
    if not layout or None in stored:
        return None
    result = emitter.emit(relax.op.strided_slice(value.stored, stored, *([int(x) for x in of] for of in bounds)))
    return Value(result.stored, layout.resized(shape, {axis: shape[axis] for axis in given}))


def _take(call: relax.Call, operands: Sequence[Any], emitter: Emitter) -> Value | None:
    """One index, or a list of them, along one axis."""
    value, indices = operands
    if call.attrs.axis is None or len(indices.shape) > 1:
        return None
    axis = int(call.attrs.axis) % len(value.shape)
    layout = layout_of(value)
    stored = layout and layout.axis(axis)
    if not layout or stored is None:
        return None
    result = emitter.emit(with_attributes(call, [value.stored, emitter.store(indices)], axis=stored))
    return Value(result.stored, layout.resized(static_shape(call), {axis: math.prod(indices.shape)}))


def _along_axis(call: relax.Call, operands: Sequence[Any], emitter: Emitter) -> Value | None:
    """Whatever has one axis and leaves the shape as it is."""
    value, *others = operands
    layout = layout_of(value)
    if layout is None or call.attrs.axis is None:
        return None
    stored = layout.axis(int(call.attrs.axis) % len(value.shape))
    if stored is None:
        return None
    arguments = [value.stored, *(emitter.store(other) for other in others)]
    return Value(emitter.emit(with_attributes(call, arguments, axis=stored)).stored, value.view)


def _channel_norm(call: relax.Call, operands: Sequence[Any], emitter: Emitter) -> Value | None:
    """Group and instance norm."""
    value, scale, shift = operands
    layout = layout_of(value)
    if layout is None:
        return None
    channel = layout.axis(int(call.attrs.channel_axis) % len(value.shape))
    axes = layout.axes([int(axis) for axis in call.attrs.axes])
    if channel is None or axes is None:
        return None
    arguments = [value.stored, emitter.store(scale), emitter.store(shift)]
    return Value(
        emitter.emit(with_attributes(call, arguments, channel_axis=channel, axes=axes)).stored, value.view
    )


def _pad(call: relax.Call, operands: Sequence[Any], emitter: Emitter) -> Value | None:
    (value,) = operands
    layout = layout_of(value)
    widths = [int(width) for width in call.attrs.pad_width]
    if layout is None:
        return None
    stored_widths = [0] * (2 * len(layout.stored_shape))
    sizes: dict[int, int] = {}
    shape = static_shape(call)
    for axis in range(len(shape)):
        around = widths[2 * axis : 2 * axis + 2]
        if any(around):
            stored = layout.axis(axis)
            if stored is None:
                return None
            stored_widths[2 * stored : 2 * stored + 2] = around
            sizes[axis] = shape[axis]
    result = emitter.emit(with_attributes(call, [value.stored], pad_width=stored_widths))
    return Value(result.stored, layout.resized(shape, sizes))


def _matmul(call: relax.Call, operands: Sequence[Any], emitter: Emitter) -> Value | None:
    """With a constant matrix: the rows may lie as they like, and the matrix takes the order of what it meets."""
    value, weight = operands
    if not weight.is_constant or len(weight.shape) != 2 or len(value.shape) < 2:
        return None
    return _rows(call, value, weight, emitter) or _reordered(call, value, weight, emitter)


def _rows(call: relax.Call, value: Value, weight: Value, emitter: Emitter) -> Value | None:
    """The same matrix, where the values lie in order whatever the axes before the last are stored as."""
    layout = layout_of(value)
    last = len(value.shape) - 1
    if layout is None or not value.view.is_plain or layout.axis(last) != len(layout.stored_shape) - 1:
        return None
    result = emitter.emit(with_attributes(call, [value.stored, emitter.store(weight)]))
    shape = static_shape(call)
    return Value(result.stored, layout.resized(shape, {last: shape[-1]}))


def _reordered(call: relax.Call, value: Value, weight: Value, emitter: Emitter) -> Value | None:
    """The rows of the matrix in the order in which the last axis lies, as behind a flattened NHWC image."""
    layout = layout_of(value)
    last = len(value.shape) - 1
    if layout is None or value.view.is_plain:
        return None
    inner = [factor for factor, axis in enumerate(layout.value_axis) if axis == last]
    outer = [factor for factor, axis in enumerate(layout.value_axis) if axis != last]
    if outer + inner != list(range(len(layout.extents))) or list(layout.order[: len(outer)]) != outer:
        return None
    rows, columns = weight.shape
    order = layout.order[len(outer) :]
    split = weight.view.reshape((*(layout.extents[factor] for factor in order), columns))
    back = sorted(range(len(order)), key=lambda place: order[place])
    matrix = split and split.permute([*back, len(order)]).reshape((rows, columns))
    if matrix is None:
        return None
    data = Value(value.stored, identity(value.shape))
    arguments = [emitter.store(data), emitter.store(Value(weight.stored, matrix))]
    return emitter.emit(with_attributes(call, arguments))


HANDLERS: dict[str, Handler] = {
    **{f"relax.{name}": _reduction for name in ("mean", "sum", "max", "min", "prod", "variance", "std")},
    **{f"relax.{name}": _place_of_extremum for name in ("argmax", "argmin")},
    **{f"relax.nn.{name}": _along_rows for name in ("softmax", "log_softmax")},
    **{f"relax.{name}": _along_axis for name in ("cumsum", "cumprod", "nn.prelu")},
    "relax.nn.layer_norm": _layer_norm,
    "relax.nn.group_norm": _channel_norm,
    "relax.nn.instance_norm": _channel_norm,
    "relax.concat": _concat,
    "relax.split": _split,
    "relax.strided_slice": _slice,
    "relax.take": _take,
    "relax.nn.pad": _pad,
    "relax.matmul": _matmul,
}
