"""Reading and writing tensors through views with fewer axes.

A kernel over rows of a matrix reads (N, H, W, C) as (N * H * W, C): one index for all pixels, with no division.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tvm import tirx
from tvm.ir import TensorLoad
from tvm.tirx import BufferLoad, BufferStore, DeclBuffer, Stmt
from tvm_ffi import structural_map

from evaluators.compile.rules.stages import Buffer, Expr, is_at, substitute, unravel


@dataclass
class Views:
    """The views that a kernel needs, made when they are first asked for."""

    _made: dict[tuple[Any, tuple[int, ...]], Buffer] = field(default_factory=dict)

    def of(self, buffer: Buffer, shape: tuple[int, ...]) -> Buffer:
        """The buffer with another shape."""
        if tuple(int(extent) for extent in buffer.shape) == shape:
            return buffer
        key = (buffer, shape)
        if key not in self._made:
            self._made[key] = tirx.decl_buffer(shape, buffer.dtype, f"{buffer.name}_flat")
        return self._made[key]

    def declarations(self) -> list[Stmt]:
        """What must stand before the kernel's code."""
        return [DeclBuffer(view, data=buffer.data) for (buffer, _), view in self._made.items()]


@dataclass(frozen=True)
class Axes:
    """Variables of a stage in groups, each of which becomes one axis of a view."""

    groups: tuple[tuple[tuple[Any, int], ...], ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """The extents of the groups."""
        return tuple(math.prod(extent for _, extent in group) for group in self.groups)

    def place(
        self, value: Expr, at: Sequence[Expr], views: Views, known: Mapping[Any, Expr] | None = None
    ) -> Expr:
        """The value at an index for each group; what is read from the ``known`` buffers is known already."""
        variables, extents = zip(*(pair for group in self.groups for pair in group), strict=True)

        def flatten(load: TensorLoad) -> Expr:
            if known and load.source in known:
                return known[load.source]
            shape = tuple(int(extent) for extent in load.source.shape)
            if shape == extents and is_at(load.indices, variables, extents):
                return BufferLoad(views.of(load.source, self.shape), list(at))
            return load

        mapping: dict[Any, Expr] = {}
        for group, position in zip(self.groups, at, strict=True):
            indices = unravel(position, [extent for _, extent in group])
            mapping.update(zip((variable for variable, _ in group), indices, strict=True))
        return substitute(structural_map(value, (TensorLoad, flatten)), mapping)

    def store(self, buffer: Buffer, value: Expr, at: Sequence[Expr], views: Views) -> Stmt:
        """Store a value there."""
        return BufferStore(views.of(buffer, self.shape), value, list(at))
