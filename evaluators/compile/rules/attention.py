"""Attention: written out anew, its jobs spread over the threads where that pays."""

from __future__ import annotations

import dataclasses

from tvm import s_tir
from tvm.tirx import PrimFunc

from evaluators.compile.kernels.attention import NAME, attention, read_attention
from evaluators.compile.rules.kernel import open_kernel, worth_threads
from hw_profiles.profile import Profile


def apply(function: PrimFunc, profile: Profile) -> PrimFunc | None:
    """The kernel with parallel jobs; None for any other kernel."""
    schedule, blocks = open_kernel(function)
    if len(blocks) != 1 or not blocks[0].name.startswith(NAME):
        return None
    sizes, sources, result = read_attention(schedule.get(blocks[0].handle))
    sizes = dataclasses.replace(sizes, parallel=worth_threads(profile, sizes.work / sizes.lanes))
    query, key, value, *bias = sources
    body = attention(sizes, query, key, value, bias[0] if bias else None, result)
    root = s_tir.SBlock([], [], [], "root", body)
    return function.with_body(s_tir.SBlockRealize([], True, root))
