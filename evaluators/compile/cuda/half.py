"""Networks in float16 with float32 sums, which is what tensor cores compute."""

from __future__ import annotations

import tvm
from tvm import relax


def to_half(module: tvm.IRModule) -> tvm.IRModule:
    """The network in float16; its inputs and outputs keep their types.

    Convolutions and products take float16 and sum in float32; reductions and norms compute in float32
    (Micikevicius et al., "Mixed Precision Training", 2018).
    """
    return tvm.transform.Sequential(
        [relax.transform.ToMixedPrecision(out_dtype="float32"), relax.transform.FoldConstant()]
    )(module)
