"""Pooling: written out anew, on several cores where that pays. Nothing is fused with it."""

from __future__ import annotations

import dataclasses

from tvm.s_tir.stmt import SBlockRealize
from tvm.tirx import PrimFunc

from evaluators.compile.kernels.epilogue import plain
from evaluators.compile.kernels.pooling import NAME, pooling, read_pooling
from evaluators.compile.rules.kernel import worth_threads
from evaluators.compile.rules.written import with_body
from hw_profiles.profile import Profile


def apply(function: PrimFunc, profile: Profile) -> PrimFunc | None:
    """The kernel for the profile's threads; None for any other kernel."""
    root = function.body
    stage = root.block.body if isinstance(root, SBlockRealize) else None
    if not isinstance(stage, SBlockRealize) or stage.block.name_hint != NAME:
        return None
    layer = read_pooling(stage.block)
    layer = dataclasses.replace(layer, parallel=worth_threads(profile, layer.work / layer.lanes))
    (data,), (full,) = stage.block.reads, stage.block.writes
    return with_body(function, pooling(layer, data.source, plain(full.source)))
