"""Winograd convolutions: written out anew with the element-wise work behind them in the store of each output."""

from __future__ import annotations

import dataclasses

from tvm.tirx import PrimFunc

from evaluators.compile.kernels.winograd import NAME, read_layout, winograd
from evaluators.compile.rules.kernel import worth_threads
from evaluators.compile.rules.written import open_written, with_body
from hw_profiles.profile import Profile


def apply(function: PrimFunc, profile: Profile) -> PrimFunc | None:
    """The kernel with what was fused behind it drawn in; None for any other kernel."""
    stage = open_written(function, NAME)
    if stage is None:
        return None
    data, weight = stage.sources
    layout = read_layout(stage.main)
    layout = dataclasses.replace(layout, parallel=worth_threads(profile, layout.work / layout.lanes))
    return with_body(function, winograd(layout, data, weight, stage.finish))
