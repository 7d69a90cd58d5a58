"""Dense and pointwise convolutions: a register tile of output pixels times vectors of output channels."""

from __future__ import annotations

from tvm.tirx import PrimFunc

from evaluators.compile.kernels import convolution
from evaluators.compile.rules.kernel import keep_in_registers, open_layer, vectorize, worth_threads
from evaluators.compile.tiles import Tile, divisors
from hw_profiles.profile import Profile


def apply(function: PrimFunc, profile: Profile) -> PrimFunc | None:
    """Schedule a packed convolution with whatever was fused behind it; None for any other kernel."""
    layer = open_layer(function, convolution.NAME)
    if layer is None:
        return None
    schedule, main, last = layer.schedule, layer.main, layer.last
    rows = last.spatial[1]
    tile = Tile(**layer.choice)
    n, y, x, c = schedule.get_loops(last.handle)
    yo, yi = schedule.split(y, [None, tile.rows])
    xo, xi = schedule.split(x, [None, tile.columns])
    co, ci = schedule.split(c, [None, tile.channels])
    parallel = worth_threads(profile, main.work / tile.lanes)
    if layer.padding is not None:
        chunk = max(divisors(rows // tile.rows, max(1, rows // tile.rows // profile.threads)))
        yoo, yoi = schedule.split(yo, [None, chunk])
        schedule.reorder(n, yoo, yoi, xo, co, yi, xi, ci)
        schedule.compute_at(main.handle, co, preserve_unit_loops=True)
        schedule.compute_at(layer.padding.handle, yoo, preserve_unit_loops=True)
        vectorize(schedule, schedule.get_loops(layer.padding.handle)[-1], tile.lanes)
        if parallel:
            schedule.parallel(schedule.fuse(n, yoo))
    else:
        schedule.reorder(n, yo, xo, co, yi, xi, ci)
        schedule.compute_at(main.handle, co, preserve_unit_loops=True)
        if parallel:
            schedule.parallel(schedule.fuse(n, yo, xo))
    vectorize(schedule, ci, tile.lanes)
    schedule.unroll(xi)
    schedule.unroll(yi)
    keep_in_registers(layer, tile.lanes)
    return schedule.mod["main"]
