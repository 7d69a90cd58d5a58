"""Depthwise convolutions of bytes: written out anew with the element-wise work behind them."""

from __future__ import annotations

import dataclasses

from tvm.tirx import PrimFunc

from evaluators.compile.kernels.depthwise_integer import NAME, integer_depthwise, read_integer_layer
from evaluators.compile.rules.kernel import worth_threads
from evaluators.compile.rules.written import open_written, with_body
from hw_profiles.profile import Profile


def apply(function: PrimFunc, profile: Profile) -> PrimFunc | None:
    """The kernel with what was fused behind it drawn in; None for any other kernel."""
    stage = open_written(function, NAME)
    if stage is None:
        return None
    data, weight = stage.sources
    layer = read_integer_layer(stage.main)
    parallel = worth_threads(profile, layer.work / (profile.vector_bits // 16))
    return with_body(
        function, integer_depthwise(dataclasses.replace(layer, parallel=parallel), data, weight, stage.finish)
    )
