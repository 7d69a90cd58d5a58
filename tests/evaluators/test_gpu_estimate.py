"""What a GPU is said to take before anything was timed on it."""

from __future__ import annotations

import pytest

from evaluators.compile.kernel_times import Kernel
from evaluators.latency.predict.gpu import LAUNCH_S, least_latency
from hw_profiles.profile import load_profile


def test_each_kernel_takes_at_least_its_roofline_and_its_launch():
    profile = load_profile("jetson-orin-nano")
    peak, bandwidth = profile.peak("float16"), profile.memory_bandwidth
    shape, dtype = ((1,),), ("float16",)
    arithmetic = Kernel("product", "none", 2, shape, dtype, operations=peak * 1e-3, bytes=1)
    movement = Kernel("copy", "none", 1, shape, dtype, operations=1, bytes=int(bandwidth * 2e-3))
    latency = least_latency([arithmetic, movement], profile)
    assert latency.source == "estimated"
    assert latency.low == pytest.approx(4e-3)
    assert latency.value == pytest.approx(4e-3 + 3 * LAUNCH_S)
