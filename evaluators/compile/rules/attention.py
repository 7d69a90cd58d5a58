"""Attention: written out anew, its jobs spread over the threads where that pays."""

from __future__ import annotations

import dataclasses

from tvm import s_tir
from tvm.tirx import PrimFunc

from evaluators.compile.kernels.attention import NAME, attention, read_attention
from evaluators.compile.rules.kernel import worth_threads
from hw_profiles.profile import Profile


def apply(function: PrimFunc, profile: Profile) -> PrimFunc | None:
    """The kernel with parallel jobs; None for any other kernel."""
    root = function.body
    stage = root.block.body if isinstance(root, s_tir.SBlockRealize) else None
    if not isinstance(stage, s_tir.SBlockRealize) or not stage.block.name_hint.startswith(NAME):
        return None
    sizes, sources, result = read_attention(stage.block)
    sizes = dataclasses.replace(sizes, parallel=worth_threads(profile, sizes.work / sizes.lanes))
    query, key, value, *bias = sources
    body = attention(sizes, query, key, value, bias[0] if bias else None, result)
    written = s_tir.SBlock([], [], [], "root", body)
    return function.with_body(s_tir.SBlockRealize([], True, written))
