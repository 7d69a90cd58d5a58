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
from evaluators.compile.graph.quantised import use_integers
from evaluators.compile.graph.sooner import mix_channels_sooner
from evaluators.compile.integers import dots_of
from hw_profiles.profile import Profile


def prepare(module: tvm.IRModule, profile: Profile) -> tvm.IRModule:
    """Compute quantised parts in integers, fold what is constant, and lay images out channels last."""
    if profile.gpu is None:
        module = use_integers(module, dots_of(profile))
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
