"""The order of the passes over a graph."""

from __future__ import annotations

from collections.abc import Callable

import tvm
from tvm import relax

from evaluators.compile.graph.attention import know_masks
from evaluators.compile.graph.canonical import canonicalise
from evaluators.compile.graph.constants import fold_constants
from evaluators.compile.graph.lay_out import lay_out
from evaluators.compile.graph.plain import simplify
from evaluators.compile.graph.sooner import mix_channels_sooner


def prepare(module: tvm.IRModule) -> tvm.IRModule:
    """Fold batch norm, make clips fusible, lay images out as NHWC and fold what is constant."""
    module = _rewrite_main(module, fold_constants)
    module = _rewrite_main(module, canonicalise)
    module = _rewrite_main(module, know_masks)
    module = _rewrite_main(module, simplify)
    module = _rewrite_main(module, mix_channels_sooner)
    module = relax.transform.DecomposeOpsForInference()(module)
    return relax.transform.DeadCodeElimination()(_rewrite_main(module, lay_out))


def _rewrite_main(module: tvm.IRModule, rewrite: Callable[[relax.Function], relax.Function]) -> tvm.IRModule:
    module = tvm.IRModule(module.functions, attrs=module.attrs)
    module["main"] = rewrite(module["main"])
    return module
