"""Transposes: square tiles turned round in registers, several of them along the output's rows at a time."""

from __future__ import annotations

from tvm.s_tir import Schedule
from tvm.tirx import PrimFunc

from evaluators.compile.kernels import transpose
from evaluators.compile.rules.kernel import open_kernel, stage_names, worth_threads
from evaluators.compile.tiles import FLOAT_BITS, divisors
from hw_profiles.profile import Profile

CHUNK = 16
"""Tiles along the output's rows, so that their lines of cache are filled while they are there, however far apart
the rows."""
VECTORS = 6
"""Vector operations that an element takes as long as."""


def apply(function: PrimFunc, profile: Profile) -> PrimFunc | None:
    """Schedule a kernel that only permutes axes, its last one among them; None for any other."""
    names = stage_names(function)
    if len(names) != 1 or not names[0].startswith(transpose.NAME):
        return None
    schedule, blocks = open_kernel(function)
    (block,) = blocks
    stage = schedule.get(block.handle)
    read = stage.body.value
    variables = [axis.var for axis in stage.iter_vars]
    inner = next(place for place, variable in enumerate(variables) if variable.same_as(read.indices[-1]))
    lanes = profile.vector_bits // FLOAT_BITS
    loops = schedule.get_loops(block.handle)
    rows, columns = max(divisors(block.spatial[inner], lanes)), max(divisors(block.spatial[-1], lanes))
    chunk = max(divisors(block.spatial[-1] // columns, CHUNK))
    across, in_row = schedule.split(loops[inner], [None, rows])
    far, along, in_column = schedule.split(loops[-1], [None, chunk, columns])
    outer = [loop for place, loop in enumerate(loops[:-1]) if place != inner]
    schedule.reorder(*outer, far, across, along, in_row, in_column)
    if min(rows, columns) > 1:
        _turn_in_registers(schedule, block.handle, along)
    schedule.unroll(in_row)
    schedule.vectorize(in_column)
    if worth_threads(profile, VECTORS * block.work):
        schedule.parallel(schedule.fuse(*outer, far))
    return schedule.mod["main"]


def _turn_in_registers(schedule: Schedule, block: object, loop: object) -> None:
    tile = schedule.cache_read(block, 0, "local")
    schedule.compute_at(tile, loop)
    *_, row, column = schedule.get_loops(tile)
    schedule.unroll(row)
    schedule.vectorize(column)
