"""Sums over small windows (depthwise and grouped convolutions, pooling): a thread computes one output.

Neighbouring threads take neighbouring channels, so that a warp reads whole lines of memory.
"""

from __future__ import annotations

import math

from tvm.tirx import PrimFunc

from evaluators.compile.cuda.stages import inline_between, only_reduction
from evaluators.compile.rules.kernel import open_kernel
from hw_profiles.gpu import Gpu

MOST_TERMS = 256
"""Of a sum that one thread computes; longer ones are shared by threads."""
_THREADS = 128
_UNROLLED = 64


def apply(kernel: PrimFunc, gpu: Gpu) -> PrimFunc | None:
    """The kernel with an output a thread; None unless it is one short sum with enough outputs."""
    schedule, blocks = open_kernel(kernel)
    main = only_reduction(blocks)
    if main is None or math.prod(main.reduction) > MOST_TERMS:
        return None
    if math.prod(main.spatial) < 32 * gpu.multiprocessors:
        return None
    last = inline_between(schedule, blocks, main)
    if last is main.handle:
        spatial = schedule.get_loops(last)[: len(main.spatial)]
        block, thread = schedule.split(schedule.fuse(*spatial), [None, _THREADS])
    else:
        block, thread = schedule.split(schedule.fuse(*schedule.get_loops(last)), [None, _THREADS])
        schedule.compute_at(main.handle, thread)
        schedule.set_scope(main.handle, 0, "local")
    schedule.bind(block, "blockIdx.x")
    schedule.bind(thread, "threadIdx.x")
    if math.prod(main.reduction) <= _UNROLLED:
        for loop in schedule.get_loops(main.handle)[2:]:
            schedule.unroll(loop)
    return schedule.mod["main"]
