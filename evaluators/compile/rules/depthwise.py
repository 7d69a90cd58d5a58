"""Depthwise convolutions: written out anew with the element-wise work behind them in the store of each output."""

from __future__ import annotations

import dataclasses

from tvm.tirx import PrimFunc

from evaluators.compile.kernels.depthwise import NAME, depthwise, read_layer
from evaluators.compile.rules.kernel import worth_threads
from evaluators.compile.rules.written import open_written, with_body
from evaluators.compile.tiles import lanes_for
from hw_profiles.profile import Profile


def apply(function: PrimFunc, profile: Profile) -> PrimFunc | None:
    """The kernel with what was fused behind it drawn in; None for any other kernel."""
    stage = open_written(function, NAME)
    if stage is None:
        return None
    data, weight = stage.sources
    layer = read_layer(stage.main)
    parallel = worth_threads(profile, layer.work / lanes_for(layer.channels, profile.vector_bits))
    layer = dataclasses.replace(layer, parallel=parallel)
    return with_body(function, depthwise(layer, data, weight, stage.finish))
