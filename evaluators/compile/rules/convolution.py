"""Dense and pointwise convolutions: a register tile of output pixels times vectors of output channels."""

from __future__ import annotations

from tvm.tirx import PrimFunc

from evaluators.compile.kernels import convolution
from evaluators.compile.rules.kernel import (
    fill_padding,
    keep_in_registers,
    open_layer,
    vectorize,
    worth_threads,
)
from evaluators.compile.tiles import Tile
from hw_profiles.profile import Profile

UNROLLED_STEPS = 8
"""So few input channels are written out: a loop around a few steps costs as much as they do. Columns of the
kernel are not: neighbouring outputs share inputs, which LLVM would then hold in registers that there are not."""


def apply(function: PrimFunc, profile: Profile) -> PrimFunc | None:
    """Schedule a packed convolution with whatever was fused behind it; None for any other kernel."""
    layer = open_layer(function, convolution.NAME)
    if layer is None:
        return None
    schedule, main, last = layer.schedule, layer.main, layer.last
    choice = layer.choice
    tile = Tile(choice["rows"], choice["columns"], choice["vectors"], choice["lanes"])
    n, *image, c = schedule.get_loops(last.handle)
    y, x = image if len(image) == 2 else (image[0], schedule.add_unit_loop(c))
    chunk, yo, yi = schedule.split(y, [None, choice["chunk"], tile.rows])
    xo, xi = schedule.split(x, [None, tile.columns])
    part, co, ci = schedule.split(c, [choice["parts"], None, tile.channels])
    schedule.reorder(n, chunk, part, co, yo, xo, yi, xi, ci)
    schedule.compute_at(main.handle, xo, preserve_unit_loops=True)
    if layer.padding is not None:
        schedule.compute_at(layer.padding.handle, part, preserve_unit_loops=True)
        fill_padding(layer, tile.lanes)
    if worth_threads(profile, main.work / tile.lanes):
        schedule.parallel(schedule.fuse(n, chunk, part))
    vectorize(schedule, ci, tile.lanes)
    schedule.unroll(xi)
    schedule.unroll(yi)
    keep_in_registers(layer, tile.lanes, int(main.reduction[-1] <= UNROLLED_STEPS))
    return schedule.mod["main"]
