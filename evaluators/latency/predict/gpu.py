"""What a GPU that nothing was ever timed on takes at least, by its profile alone."""

from __future__ import annotations

from collections.abc import Sequence

from evaluators.compile.kernel_times import Kernel
from hw_profiles.profile import Profile
from results.measurement import Measurement

LAUNCH_S = 5e-6
"""Of a kernel, from its call to its start; assumed, as published of CUDA without graphs."""


def least_latency(kernels: Sequence[Kernel], profile: Profile) -> Measurement:
    """The roofline of each kernel (Williams, Waterman and Patterson, 2009) and its launch, in seconds.

    An estimate with one end only: no device is faster than the roofline, and how much slower small networks
    are nobody knows before they were timed.
    """
    peak = max(profile.peak("float16"), profile.peak())
    roofs = sum(
        each.calls * max(each.operations / peak, each.bytes / profile.memory_bandwidth) for each in kernels
    )
    launches = sum(each.calls for each in kernels)
    return Measurement(roofs + launches * LAUNCH_S, "s", "estimated", low=roofs)
