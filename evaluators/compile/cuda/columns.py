"""Long sums of values that lie a line apart (means over an image, a vector times a matrix).

Neighbouring threads add up neighbouring columns, several threads a column; where columns are few, blocks share the
terms too, and a second kernel adds up what they found.
"""

from __future__ import annotations

import math
from typing import Any

from tvm.s_tir import SBlock, Schedule
from tvm.tirx import PrimFunc

from evaluators.compile.cuda.stages import inline_between, last_consumer, only_reduction
from evaluators.compile.rules.kernel import SPATIAL, open_kernel
from evaluators.compile.tiles import divisors
from hw_profiles.gpu import Gpu

_FEWEST_TERMS = 32
_FEWEST_ACROSS, _MOST_ACROSS, _SHARERS = 4, 32, 16
"""Columns of a block of threads, and the threads that share a column.

Columns are divided evenly: where they are not, TVM 0.27 has the threads beyond the last column store as well.
"""
_PART = 512
"""Terms of a column below which another block's help costs more than it saves."""


def apply(kernel: PrimFunc, gpu: Gpu) -> PrimFunc | None:
    """The kernel with a few threads an output; None unless it is one long sum over lines."""
    schedule, blocks = open_kernel(kernel)
    main = only_reduction(blocks)
    if main is None or math.prod(main.reduction) < _FEWEST_TERMS or not _side_by_side(schedule.get(main.handle)):
        return None
    across = max(divisors(main.spatial[-1], _MOST_ACROSS), default=0) if main.spatial else 0
    if across < _FEWEST_ACROSS:
        return None
    last = inline_between(schedule, blocks, main)
    outputs = math.prod(main.spatial)
    if last is not main.handle and _extents(schedule, last) != outputs:
        return None
    axes = len(main.spatial)
    schedule.fuse(*schedule.get_loops(main.handle)[axes:])
    parts = _parts(outputs // across, math.prod(main.reduction), gpu)
    if parts > 1:
        part, _ = schedule.split(schedule.get_loops(main.handle)[-1], [parts, None])
        partial = schedule.rfactor(part, 0)
        *spatial, part, terms = schedule.get_loops(partial)
        schedule.reorder(part, *spatial, terms)
        _share(schedule, partial, axes + 1, across, None)
    last = last_consumer(schedule, main.handle)
    _share(schedule, main.handle, axes, across, last if last is not main.handle else None)
    return schedule.mod["main"]


def _side_by_side(block: SBlock) -> bool:
    """Whether neighbouring outputs read neighbouring values of a tensor."""
    spatial = {axis.var for axis in block.iter_vars if int(axis.iter_type) == SPATIAL and int(axis.dom.extent) > 1}
    return any(read.region[-1].min in spatial for read in block.reads)


def _extents(schedule: Schedule, stage: Any) -> int:
    return math.prod(int(schedule.get(loop).extent) for loop in schedule.get_loops(stage))


def _parts(blocks: int, terms: int, gpu: Gpu) -> int:
    """Into how many parts, all alike, the terms are cut so that there is a block for each multiprocessor."""
    wanted = min(gpu.multiprocessors // blocks, terms // _PART)
    return max(divisors(terms, wanted)) if wanted > 1 else 1


def _share(schedule: Schedule, total: Any, axes: int, across: int, last: Any | None) -> None:
    """Threads share the terms of a sum with so many axes of outputs; ``last`` is computed as it is stored."""
    *outputs, terms = schedule.get_loops(total)
    columns, x = schedule.split(outputs[axes - 1], [None, across])
    schedule.fuse(*outputs[: axes - 1], columns)
    _, y = schedule.split(terms, [None, _SHARERS])
    own = schedule.rfactor(y, 0)
    block, x, terms, y = schedule.get_loops(own)
    schedule.reorder(block, x, y, terms)
    schedule.bind(block, "blockIdx.x")
    schedule.bind(x, "threadIdx.x")
    schedule.bind(y, "threadIdx.y")
    schedule.set_scope(own, 0, "local")
    schedule.decompose_reduction(own, terms)
    schedule.reverse_compute_at(total, block, preserve_unit_loops=True)
    _, y, *outputs = schedule.get_loops(total)
    x = schedule.fuse(*outputs)
    schedule.reorder(x, y)
    schedule.bind(x, "threadIdx.x")
    schedule.bind(y, "threadIdx.y")
    if last is not None:
        schedule.set_scope(total, 0, "local")
        schedule.reverse_compute_at(last, block, preserve_unit_loops=True)
        _, *outputs = schedule.get_loops(last)
        schedule.bind(schedule.fuse(*outputs), "threadIdx.x")
