"""Dense layers: the register tile of a pointwise convolution over the rows of a matrix."""

from __future__ import annotations

from tvm.tirx import PrimFunc

from evaluators.compile.kernels import dense
from evaluators.compile.rules.kernel import keep_in_registers, open_layer, vectorize, worth_threads
from evaluators.compile.tiles import Tile, divisors
from hw_profiles.profile import Profile


def apply(function: PrimFunc, profile: Profile) -> PrimFunc | None:
    """Schedule a packed dense layer with whatever was fused behind it; None for any other kernel."""
    layer = open_layer(function, dense.NAME)
    if layer is None:
        return None
    schedule, main, last = layer.schedule, layer.main, layer.last
    tile = Tile(**layer.choice)
    *ms, c = schedule.get_loops(last.handle)
    height = max(divisors(last.spatial[-2], tile.columns))
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
