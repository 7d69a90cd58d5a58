"""A kernel read as work on the rows of a matrix: numbers of a whole row, and of each of its elements."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tvm import tirx
from tvm.ir import Call, TensorLoad
from tvm.tirx import PrimFunc
from tvm_ffi import structural_map

from evaluators.compile.rules.stages import Buffer, Expr, Stage, count_operations, read_stages
from evaluators.compile.rules.views import Axes, Views

Pairs = tuple[tuple[Any, int], ...]


@dataclass(frozen=True)
class RowStage:
    """A stage with its axes told apart: those of the row's number, and those along the row (maybe none).

    ``kept`` says that the stage has a value for each element, ``folded`` that it reduces the row to one.
    """

    stage: Stage
    rows: Pairs
    along: Pairs

    @property
    def folded(self) -> bool:
        return bool(self.stage.reduced)

    @property
    def kept(self) -> bool:
        return bool(self.along) and not self.folded

    @property
    def term(self) -> Expr:
        """What a reduction takes from each element."""
        value = self.stage.value
        return value.a if _reads(value.b, self.stage.buffer) else value.b


@dataclass(frozen=True)
class RowKernel:
    """``rows`` x ``length`` elements and the stages over them in order; the last one stores the result."""

    stages: Sequence[RowStage]
    rows: int
    length: int

    @property
    def operations(self) -> int:
        """About how many operations there are on each element."""
        return sum(count_operations(each.stage.value) // 3 for each in self.stages if each.along)

    @cached_property
    def written_down(self) -> set[Buffer]:
        """Values of elements that are costly and needed more than once."""
        kept = [each.stage for each in self.stages[:-1] if each.kept]
        later = [each.stage for each in self.stages]
        return {
            stage.buffer
            for stage in kept
            if _costly(stage.value) and sum(_reads(other.value, stage.buffer) for other in later) > 1
        }


def open_rows(function: PrimFunc) -> RowKernel | None:
    """The kernel as work on rows along the last axis, with a reduction in it; None for any other."""
    stages = read_stages(function)
    folds = [stage for stage in stages or () if stage.reduced]
    if not stages or not folds or any(str(stage.buffer.dtype) != "float32" for stage in stages):
        return None
    rows, along = _wide(folds[0].extents), _wide(folds[0].lengths)
    found = [_as_row_stage(stage, rows, along) for stage in stages]
    kernel = [each for each in found if each]
    if not along or len(kernel) != len(found) or not _in_place(kernel) or not all(map(_is_fold, folds)):
        return None
    return RowKernel(kernel, math.prod(rows), math.prod(along))


@dataclass
class RowValues:
    """Expressions of a kernel's stages at a row: what is ``known`` already, and the rest computed in place."""

    kernel: RowKernel
    row: Expr
    views: Views
    known: dict[Buffer, Expr] = field(default_factory=dict)
    written: dict[Buffer, Buffer] = field(default_factory=dict)

    def of_row(self, each: RowStage) -> Expr:
        """The value of a stage that has one for the row."""
        return Axes((each.rows,)).place(each.stage.value, [self.row], self.views, self.known)

    def of_element(self, each: RowStage, value: Expr, at: Expr) -> Expr:
        """A value of a stage at an element of the row."""
        known = dict(self.known)
        for other in self.kernel.stages:
            buffer = other.stage.buffer
            if other.kept and other is not each and _reads(value, buffer):
                written = self.written.get(buffer)
                known[buffer] = (
                    self.of_element(other, other.stage.value, at)
                    if written is None
                    else tirx.BufferLoad(written, [at])
                )
        return Axes((each.rows, each.along)).place(value, [self.row, at], self.views, known)


def _pairs(variables: Sequence[Any], extents: Sequence[int]) -> Pairs:
    return tuple(zip(variables, extents, strict=True))


def _wide(extents: Sequence[int]) -> tuple[int, ...]:
    return tuple(extent for extent in extents if extent > 1)


def _as_row_stage(stage: Stage, rows: tuple[int, ...], along: tuple[int, ...]) -> RowStage | None:
    own = _pairs(stage.variables, stage.extents)
    if stage.reduced:
        fits = (_wide(stage.extents), _wide(stage.lengths)) == (rows, along)
        return RowStage(stage, own, _pairs(stage.reduced, stage.lengths)) if fits else None
    wide = _wide(stage.extents)
    if wide == rows:
        return RowStage(stage, own, ())
    if wide != rows + along:
        return None
    places = [place for place, extent in enumerate(stage.extents) if extent > 1]
    cut = places[len(rows)]
    return RowStage(stage, own[:cut], own[cut:])


def _in_place(kernel: Sequence[RowStage]) -> bool:
    """Whether stages read each other at their own row and element only, and reductions run along the last axis."""
    ours = {each.stage.buffer: each for each in kernel}
    sound = True

    def check(each: RowStage) -> None:
        rows = [variable for variable, extent in each.rows if extent > 1]
        along = [variable for variable, extent in each.along if extent > 1]

        def note(load: TensorLoad) -> Expr:
            nonlocal sound
            if load.source in ours:
                wide = [at for at, extent in zip(load.indices, load.source.shape, strict=True) if int(extent) > 1]
                expected = rows + along if ours[load.source].kept else rows
                sound &= len(wide) == len(expected) and all(map(_same, wide, expected))
            elif each.folded:
                sound &= not any(variable.same_as(load.indices[-1]) for variable in rows)
            return load

        structural_map(each.term if each.folded else each.stage.value, (TensorLoad, note))

    for each in kernel:
        check(each)
    return sound


def _same(index: Expr, variable: Expr) -> bool:
    return bool(index.same_as(variable))


def _is_fold(stage: Stage) -> bool:
    value = stage.value
    both = isinstance(value, tirx.Add | tirx.Max | tirx.Min)
    return both and _reads(value.a, stage.buffer) != _reads(value.b, stage.buffer)


def _reads(value: Expr, buffer: Buffer) -> bool:
    found = False

    def note(load: TensorLoad) -> Expr:
        nonlocal found
        found |= load.source.same_as(buffer)
        return load

    structural_map(value, (TensorLoad, note))
    return found


def _costly(value: Expr) -> bool:
    """Whether a function is called in it."""
    found = False

    def note(call: Call) -> Expr:
        nonlocal found
        found = True
        return call

    structural_map(value, (Call, note))
    return found
