"""What whole numbers a network takes: the ids that its embeddings have rows for."""

from __future__ import annotations

import tvm
from tvm import relax
from tvm.ir import GenericConst

_SAME = frozenset(
    f"relax.{name}" for name in ("astype", "reshape", "expand_dims", "squeeze", "broadcast_to", "permute_dims")
)
"""Operators that change no value."""


def index_bounds(module: tvm.IRModule) -> tuple[int | None, ...]:
    """For each input of ``main`` that picks rows of a constant how many there are, the fewest of several."""
    main = module["main"]
    made = {binding.var: binding.value for block in main.body.blocks for binding in block.bindings}
    parameters = list(main.params)
    bounds: list[int | None] = [None] * len(parameters)
    for value in made.values():
        if _operator(value) == "relax.take" and isinstance(value.args[0], GenericConst):
            source = value.args[1]
            while _operator(made.get(source)) in _SAME:
                source = made[source].args[0]
            if source in parameters:
                rank = len(value.args[0].ty.shape)
                axis = 0 if value.attrs.axis is None else int(value.attrs.axis) % rank
                rows = int(value.args[0].ty.shape[axis])
                at = parameters.index(source)
                bounds[at] = min(rows, bounds[at] or rows)
    return tuple(bounds)


def _operator(value: relax.Expr | None) -> str:
    if isinstance(value, relax.Call) and isinstance(value.op, tvm.ir.Op):
        return str(value.op.name)
    return ""
