"""Dense layers: the register tile of a pointwise convolution over the rows of a matrix."""

from __future__ import annotations

import math

from tvm.tirx import PrimFunc

from evaluators.compile import kernels
from evaluators.compile.rules.kernel import keep_in_registers, open_layer, vectorize, worth_threads
from evaluators.compile.tiles import choose_tile, divisors
from hw_profiles.profile import Profile


def apply(function: PrimFunc, profile: Profile) -> PrimFunc | None:
    """Schedule a packed dense layer with whatever was fused behind it; None for any other kernel."""
    layer = open_layer(function, kernels.DENSE)
    if layer is None:
        return None
    schedule, main, last = layer.schedule, layer.main, layer.last
    *outer, channels = last.spatial
    tile = choose_tile(1, math.prod(outer), channels, profile.vector_bits, profile.vector_registers)
    *ms, c = schedule.get_loops(last.handle)
    height = max(divisors(outer[-1], tile.columns))
    mo, mi = schedule.split(ms[-1], [None, height])
    co, ci = schedule.split(c, [None, tile.channels])
    schedule.reorder(*ms[:-1], mo, co, mi, ci)
    schedule.compute_at(main.handle, co, preserve_unit_loops=True)
    if worth_threads(profile, main.work / tile.lanes):
        schedule.parallel(schedule.fuse(*ms[:-1], mo, co))
    vectorize(schedule, ci, tile.lanes)
    schedule.unroll(mi)
    keep_in_registers(layer, tile.lanes)
    return schedule.mod["main"]
