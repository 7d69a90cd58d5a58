"""Everything else: element-wise stages are drawn together, the rest is vectorised over its last axis."""

from __future__ import annotations

from tvm.s_tir import Schedule
from tvm.s_tir.schedule import ScheduleError
from tvm.tirx import PrimFunc

from evaluators.compile.rules.kernel import Block, list_blocks, open_kernel, worth_threads
from evaluators.compile.tiles import lanes_for
from hw_profiles.profile import Profile

LOADS = 2
"""Vector operations for each element."""


def apply(function: PrimFunc, profile: Profile) -> PrimFunc:
    """Schedule any kernel; it is returned as it was when nothing helps."""
    schedule, blocks = open_kernel(function)
    for block in blocks[:-1]:
        if not block.reduction:
            _try_inline(schedule, block)
    for block in list_blocks(schedule):
        _spread(schedule, block, profile)
    return schedule.mod["main"]


def _try_inline(schedule: Schedule, block: Block) -> None:
    try:
        schedule.compute_inline(block.handle)
    except ScheduleError:
        return


def _spread(schedule: Schedule, block: Block, profile: Profile) -> None:
    """Lanes innermost over the last spatial axis, reductions around them, cores around all."""
    loops = schedule.get_loops(block.handle)
    count = len(block.spatial)
    if len(loops) != count + len(block.reduction) or not count:
        return
    spatial, reduction = loops[:count], loops[count:]
    lanes = lanes_for(block.spatial[-1], profile.vector_bits)
    outer, last = spatial[:-1], spatial[-1]
    if block.spatial[-1] % lanes == 0 and block.spatial[-1] > lanes:
        split, last = schedule.split(last, [None, lanes])
        outer = [*outer, split]
    if reduction:
        schedule.reorder(*outer, *reduction, last)
        schedule.decompose_reduction(block.handle, reduction[0])
    schedule.vectorize(last)
    if outer and worth_threads(profile, LOADS * block.work / lanes):
        schedule.parallel(schedule.fuse(*outer))
