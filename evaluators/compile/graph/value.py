"""Values of a graph as views of stored tensors, and how an operator on a value is one on what is stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

from tvm import relax
from tvm.ir import GenericConst

from evaluators.compile.graph.access import array_of, constant, static_shape
from evaluators.compile.graph.view import Shape, View, group, identity, merged, refine


@dataclass(frozen=True)
class Value:
    """A tensor of the old graph: an expression of the new one and how the tensor lies in it."""

    stored: relax.Expr
    view: View

    @property
    def shape(self) -> Shape:
        """The shape that the old graph knows."""
        return self.view.shape

    @cached_property
    def stored_shape(self) -> Shape:
        """The shape of what is stored."""
        return static_shape(self.stored)

    @property
    def is_constant(self) -> bool:
        """Whether it is known now, so that permuting it costs nothing."""
        return isinstance(self.stored, GenericConst)


def as_stored(expression: relax.Expr) -> Value:
    """An expression of the new graph as the value that it is."""
    return Value(expression, identity(static_shape(expression)))


@dataclass(frozen=True)
class Layout:
    """How the axes of a value lie along the axes of what is stored: factors in stored order."""

    extents: Shape
    value_axis: Shape
    stored_axis: Shape
    order: Shape
    stored_shape: Shape
    shape: Shape

    def axis(self, value_axis: int) -> int | None:
        """The stored axis that is just this axis of the value, in its order; None where there is no such one."""
        found = self.axes([value_axis])
        alone = self.value_axis.count(value_axis % len(self.shape)) == 1
        return found[0] if found is not None and alone else None

    def axes(self, value_axes: Sequence[int]) -> list[int] | None:
        """The stored axes that together are just these axes of the value."""
        wanted = {axis % len(self.shape) for axis in value_axes}
        if any(self.shape[axis] == 1 for axis in wanted):
            return None
        found = {stored for stored, axis in zip(self.stored_axis, self.value_axis, strict=True) if axis in wanted}
        others = {
            stored for stored, axis in zip(self.stored_axis, self.value_axis, strict=True) if axis not in wanted
        }
        return None if found & others else sorted(found)

    def resized(self, shape: Shape, sizes: Mapping[int, int]) -> View:
        """The view of a result that differs in axes of one factor: now of ``sizes``, 1 where they are gone."""
        extents = [sizes.get(axis, extent) for axis, extent in zip(self.value_axis, self.extents, strict=True)]
        return merged(extents, self.order, shape)

    def place(self, other: Value, sizes: Mapping[int, int]) -> Value | None:
        """Another value laid out so, of the same axes but with other ``sizes`` (1 is broadcast); or None."""
        extents = [sizes.get(axis, extent) for axis, extent in zip(self.value_axis, self.extents, strict=True)]
        split = other.view.reshape(tuple(extents[factor] for factor in self.order))
        if split is None:
            return None
        back = sorted(range(len(self.order)), key=lambda place: self.order[place])
        stored = [1] * len(self.stored_shape)
        for axis, extent in zip(self.stored_axis, extents, strict=True):
            stored[axis] *= extent
        view = split.permute(back).reshape(tuple(stored))
        return None if view is None else Value(other.stored, view)


def layout_of(value: Value) -> Layout | None:
    """The layout of a value; None when its axes and the stored ones cut across each other."""
    return _layout(value.view, value.stored_shape)


@lru_cache(maxsize=4096)
def _layout(view: View, stored_shape: Shape) -> Layout | None:
    split = view.split(view.factors())
    axes = [axis for axis, factors in enumerate(view.factors()) for _ in factors]
    axis_of = dict(zip(split.order, axes, strict=True))
    pieces = refine(split.atoms, stored_shape)
    if pieces is None:
        return None
    by_atom = group(pieces, split.atoms)
    starts = [sum(len(atom) for atom in by_atom[:index]) for index in range(len(by_atom))]
    by_axis = group(pieces, stored_shape)
    return Layout(
        extents=tuple(pieces),
        value_axis=tuple(axis_of[atom] for atom, factors in enumerate(by_atom) for _ in factors),
        stored_axis=tuple(axis for axis, factors in enumerate(by_axis) for _ in factors),
        order=tuple(starts[atom] + i for atom in split.order for i in range(len(by_atom[atom]))),
        stored_shape=stored_shape,
        shape=view.shape,
    )


@dataclass
class Emitter:
    """Writes the new graph: each value is stored in an order only when something needs it so, and once."""

    builder: relax.BlockBuilder
    stored: dict[tuple[int, View], relax.Expr] = field(default_factory=dict)

    def emit(self, expression: relax.Expr) -> Value:
        """An operator on what is stored."""
        return as_stored(self.builder.emit(expression))

    def store(self, value: Value) -> relax.Expr:
        """An expression whose elements lie as the value has them."""
        if value.is_constant:
            array = array_of(value.stored)
            ordered = array.reshape(value.view.atoms).transpose(value.view.order).reshape(value.shape)
            return value.stored if value.view == identity(array.shape) else constant(ordered)
        key = hash(value.stored), value.view
        if key not in self.stored:
            self.stored[key] = self._moved(value)
        return self.stored[key]

    def as_stored(self, value: Value) -> Value:
        """The same value, its elements in order."""
        return as_stored(self.store(value))

    def _moved(self, value: Value) -> relax.Expr:
        result, view = value.stored, value.view
        if not view.is_plain:
            result = self._reshaped(result, view.atoms)
            result = self.builder.emit(relax.op.permute_dims(result, view.order))
        return self._reshaped(result, value.shape)

    def _reshaped(self, expression: relax.Expr, shape: Shape) -> relax.Expr:
        if static_shape(expression) == shape:
            return expression
        return self.builder.emit(relax.op.reshape(expression, shape))


Handler = Callable[[relax.Call, Sequence[Any], Emitter], Value | tuple[Value, ...] | None]
"""Takes a call of the old graph and its operands as values; None where it needs them in the old order."""
