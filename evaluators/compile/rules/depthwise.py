"""Depthwise convolutions: rows of pixels times vectors of channels, the taps of a row unrolled."""

from __future__ import annotations

from tvm.tirx import PrimFunc

from evaluators.compile.kernels import depthwise
from evaluators.compile.rules.kernel import keep_in_registers, open_layer, vectorize, worth_threads
from evaluators.compile.tiles import divisors
from hw_profiles.profile import Profile

LOADS = 2
"""Vector operations for each multiply-add: the input is read anew for every tap."""


def apply(function: PrimFunc, profile: Profile) -> PrimFunc | None:
    """Schedule a packed depthwise convolution with what was fused behind it; None for any other kernel."""
    layer = open_layer(function, depthwise.NAME)
    if layer is None:
        return None
    schedule, main, last = layer.schedule, layer.main, layer.last
    _, rows, columns, channels = last.spatial
    lanes = layer.choice["lanes"]
    vectors = max(divisors(-(-channels // lanes), 2))
    width = max(divisors(columns, max(1, (profile.vector_registers - 2) // vectors)))
    n, y, x, c = schedule.get_loops(last.handle)
    xo, xi = schedule.split(x, [None, width])
    co, ci = schedule.split(c, [None, vectors * lanes])
    chunk = max(divisors(rows, 4))
    yo, yi = schedule.split(y, [None, chunk])
    schedule.reorder(n, yo, co, yi, xo, xi, ci)
    schedule.compute_at(main.handle, xo, preserve_unit_loops=True)
    if layer.padding is not None:
        schedule.compute_at(layer.padding.handle, co, preserve_unit_loops=True)
        vectorize(schedule, schedule.get_loops(layer.padding.handle)[-1], lanes)
    if worth_threads(profile, LOADS * main.work / lanes):
        schedule.parallel(schedule.fuse(n, yo, co))
    vectorize(schedule, ci, lanes)
    schedule.unroll(xi)
    keep_in_registers(layer, lanes, unrolled_reductions=1)
    return schedule.mod["main"]
