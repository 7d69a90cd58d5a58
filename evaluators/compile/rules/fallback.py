"""Everything else: element-wise stages are drawn together, the rest is vectorised over its last axis."""

from __future__ import annotations

from collections.abc import Callable

from tvm.s_tir import Schedule
from tvm.s_tir.schedule import ScheduleError
from tvm.tirx import PrimFunc

from evaluators.compile.rules.kernel import Block, list_blocks, open_kernel, worth_threads
from evaluators.compile.tiles import divisor_near, lanes_for
from hw_profiles.profile import Profile

LOADS = 2
"""Vector operations for each element."""


def apply(function: PrimFunc, profile: Profile) -> PrimFunc:
    """Schedule any kernel; a stage that TVM refuses to change stays as it was."""
    schedule, blocks = open_kernel(function)
    for block in blocks[:-1]:
        if not block.reduction:
            schedule = _attempt(schedule, Schedule.compute_inline, block.handle)
    for block in list_blocks(schedule):
        schedule = _attempt(schedule, _spread, block, profile)
    return schedule.mod["main"]


def _attempt(schedule: Schedule, move: Callable[..., None], *arguments: object) -> Schedule:
    """The schedule after the move, or as it was when the move is refused."""
    trial = schedule.copy()
    try:
        move(trial, *arguments)
    except ScheduleError:
        return schedule
    return trial


def _spread(schedule: Schedule, block: Block, profile: Profile) -> None:
    """Lanes innermost over the last spatial axis, reductions around them, cores around all."""
    loops = schedule.get_loops(block.handle)
    count = len(block.spatial)
    if len(loops) != count + len(block.reduction) or not count:
        return
    spatial, reduction = loops[:count], loops[count:]
    lanes = lanes_for(block.spatial[-1], profile.vector_bits)
    outer, last = spatial[:-1], spatial[-1]
    if block.spatial[-1] > lanes:
        split, last = schedule.split(last, [None, divisor_near(block.spatial[-1], lanes)])
        outer = [*outer, split]
    schedule.reorder(*outer, *reduction, last)
    schedule.vectorize(last)
    if outer and worth_threads(profile, LOADS * block.work / lanes):
        schedule.parallel(schedule.fuse(*outer))
    if reduction:
        schedule.decompose_reduction(block.handle, reduction[0])
