"""Winograd convolutions: written out anew with the element-wise work behind them in the store of each output."""

from __future__ import annotations

import dataclasses
from typing import Any

from tvm import s_tir
from tvm.tirx import PrimFunc

from evaluators.compile.kernels.epilogue import fused, plain
from evaluators.compile.kernels.winograd import NAME, read_layout, winograd
from evaluators.compile.rules.kernel import open_kernel, stage_names, worth_threads
from hw_profiles.profile import Profile


def apply(function: PrimFunc, profile: Profile) -> PrimFunc | None:
    """The kernel with what was fused behind it drawn in; None for any other kernel."""
    if not "".join(stage_names(function)[:1]).startswith(NAME):
        return None
    schedule, blocks = open_kernel(function)
    for block in blocks[1:-1]:
        schedule.compute_inline(block.handle)
    main = schedule.get(blocks[0].handle)
    layout = read_layout(main)
    layout = dataclasses.replace(layout, parallel=worth_threads(profile, layout.work / layout.lanes))
    data, weight = (region.source for region in main.reads)
    full = main.writes[0].source
    finish = fused(schedule.get(blocks[-1].handle), full) if len(blocks) > 1 else plain(full)
    if finish is None:
        return None
    body = winograd(layout, data, weight, finish)
    return function.with_body(_root(body))


def _root(body: Any) -> Any:
    return s_tir.SBlockRealize([], True, s_tir.SBlock([], [], [], "root", body))
