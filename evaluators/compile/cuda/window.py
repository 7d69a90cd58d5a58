"""Sums over small windows (depthwise and grouped convolutions, pooling): a thread computes one output.

Neighbouring threads take neighbouring channels, so that a warp reads whole lines of memory.
"""

from __future__ import annotations

import math

from tvm.tirx import PrimFunc

from evaluators.compile.cuda.stages import give_threads_outputs, inline_between, only_reduction
from evaluators.compile.rules.kernel import open_kernel
from hw_profiles.gpu import Gpu

MOST_TERMS = 256
"""Of a sum that one thread computes; longer ones, and those over 64 with few outputs, are shared by threads."""
_UNROLLED = 64


def apply(kernel: PrimFunc, gpu: Gpu) -> PrimFunc | None:
    """The kernel with an output a thread; None unless it is one short sum with enough outputs."""
    schedule, blocks = open_kernel(kernel)
    main = only_reduction(blocks)
    if main is None or not main.spatial or math.prod(main.reduction) > MOST_TERMS:
        return None
    if math.prod(main.reduction) > _UNROLLED and math.prod(main.spatial) < 32 * gpu.multiprocessors:
        return None
    last = inline_between(schedule, blocks, main)
    innermost = give_threads_outputs(schedule, main.handle, last, len(main.spatial))
    if math.prod(main.reduction) <= _UNROLLED:
        loops = schedule.get_loops(main.handle)
        for loop in loops[[schedule.get(each) for each in loops].index(schedule.get(innermost)) + 1 :]:
            schedule.unroll(loop)
    return schedule.mod["main"]
