"""Depthwise convolutions: rows of pixels times vectors of channels, the taps of a row unrolled."""

from __future__ import annotations

from tvm.tirx import PrimFunc

from evaluators.compile import kernels
from evaluators.compile.rules.kernel import find, inline, open_kernel, vectorize, worth_threads
from evaluators.compile.tiles import divisors, lanes_for
from hw_profiles.profile import Profile

LOADS = 2
"""Vector operations for each multiply-add: the input is read anew for every tap."""


def apply(function: PrimFunc, profile: Profile) -> PrimFunc | None:
    """Schedule a packed depthwise convolution with what was fused behind it; None for any other kernel."""
    schedule, blocks = open_kernel(function)
    at = find(blocks, kernels.DEPTHWISE)
    if at is None or any(block.reduction for index, block in enumerate(blocks) if index != at):
        return None
    main, last = blocks[at], blocks[-1]
    padding = next((block for block in blocks[:at] if block.name.startswith(kernels.PADDING)), None)
    inline(schedule, [block for block in blocks[:at] if block is not padding])
    inline(schedule, blocks[at + 1 : -1])
    _, rows, columns, channels = last.spatial
    lanes = lanes_for(channels, profile.vector_bits)
    vectors = max(divisors(-(-channels // lanes), 2))
    width = max(divisors(columns, max(1, (profile.vector_registers - 2) // vectors)))
    n, y, x, c = schedule.get_loops(last.handle)
    xo, xi = schedule.split(x, [None, width])
    co, ci = schedule.split(c, [None, vectors * lanes])
    chunk = max(divisors(rows, 4))
    yo, yi = schedule.split(y, [None, chunk])
    schedule.reorder(n, yo, co, yi, xo, xi, ci)
    schedule.compute_at(main.handle, xo, preserve_unit_loops=True)
    if padding is not None:
        schedule.compute_at(padding.handle, co, preserve_unit_loops=True)
        vectorize(schedule, schedule.get_loops(padding.handle)[-1], lanes)
    if worth_threads(profile, LOADS * main.work / lanes):
        schedule.parallel(schedule.fuse(n, yo, co))
    vectorize(schedule, ci, lanes)
    schedule.unroll(xi)
    inner = schedule.get_loops(main.handle)[-6:]
    spatial, reduction = inner[:4], inner[4:]
    schedule.reorder(*reduction, *spatial)
    vectorize(schedule, spatial[-1], lanes)
    for loop in (*spatial[:-1], reduction[-1]):
        schedule.unroll(loop)
    schedule.decompose_reduction(main.handle, reduction[0])
    return schedule.mod["main"]
