"""The kernels of a network that can be built in several ways, each as a small graph of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tvm
from tvm import relax
from tvm.ir import GenericConst

from evaluators.compile.choices import Choice, Chooser, KernelKey
from evaluators.compile.legalize.context import ALONE, Context, Legalizer, Packing
from evaluators.compile.legalize.kernels import LEGALIZERS, first_of
from hw_profiles.profile import Profile


@dataclass(frozen=True)
class Case:
    """A kernel with its options, the model's own first, and how often the network holds it.

    ``graph`` is a relax module as JSON whose ``main`` is the one operator that makes the kernel, with its
    constants: what another process needs to build it. ``before`` is what was chosen of other kernels before the
    operator came to this one.
    """

    key: KernelKey
    options: tuple[Choice, ...]
    graph: str
    before: tuple[tuple[KernelKey, Choice], ...] = ()
    count: int = 1


def find_cases(
    graphs: Sequence[tvm.IRModule], profile: Profile, choose: Chooser, packing: Packing = ALONE
) -> list[Case]:
    """Every kernel for which there is more than one option, in prepared graphs built as ``choose`` says."""
    watch = _Watch(choose)
    context = Context(profile, choose, packing)
    watched = {
        name: first_of(tuple(map(watch.watched, legalizers)), context) for name, legalizers in LEGALIZERS.items()
    }
    for graph in graphs:
        relax.transform.LegalizeOps(watched)(graph)
    return list(watch.cases.values())


class _Watch:
    """Notes each choice that legalizers ask for, and the call that made them ask."""

    def __init__(self, choose: Chooser) -> None:
        self.cases: dict[KernelKey, Case] = {}
        self._choose = choose
        self._call: relax.Call | None = None
        self._before: tuple[tuple[KernelKey, Choice], ...] = ()

    def watched(self, legalizer: Legalizer) -> Legalizer:
        """The same legalizer, seen."""

        def legalize(builder: relax.BlockBuilder, call: relax.Call, context: Context) -> relax.Expr | None:
            if call is not self._call:
                self._call, self._before = call, ()
            return legalizer(builder, call, replace(context, choose=self._note))

        return legalize

    def _note(self, key: KernelKey, options: Sequence[Choice]) -> Choice:
        choice = self._choose(key, options)
        if key in self.cases:
            self.cases[key] = replace(self.cases[key], count=self.cases[key].count + 1)
        elif len(options) > 1:
            self.cases[key] = Case(key, tuple(options), tvm.ir.save_json(_alone(self._call)), self._before)
        self._before = (*self._before, (key, choice))
        return choice


def _alone(call: relax.Call) -> tvm.IRModule:
    """The operator as a network: its constants kept, whatever is computed before it an input.

    A layer with weights is given the bias and the activation that follow nearly every one: a tile that is the best
    without may be a bad one with them.
    """
    parameters: list[relax.Var] = []

    def stand_in(argument: Any) -> Any:
        if isinstance(argument, relax.Tuple):
            return relax.Tuple([stand_in(field) for field in argument.fields])
        if isinstance(argument, GenericConst) or not isinstance(argument.ty, relax.TensorType):
            return argument
        parameters.append(relax.Var(f"input{len(parameters)}", argument.ty))
        return parameters[-1]

    arguments = [stand_in(argument) for argument in call.args]
    builder = relax.BlockBuilder()
    with builder.function("main", parameters):
        with builder.dataflow():
            result = builder.emit(relax.Call(call.op, arguments, call.attrs, call.ty_args))
            if any(isinstance(argument, GenericConst) for argument in call.args):
                result = builder.emit(relax.op.maximum(relax.op.add(result, _bias(call.ty)), _zero(call.ty)))
            result = builder.emit_output(result)
        builder.emit_func_output(result)
    return builder.finalize()


def _bias(tensor: relax.TensorType) -> GenericConst:
    return relax.const(np.full(int(tensor.shape[-1]), 0.1, str(tensor.dtype)))


def _zero(tensor: relax.TensorType) -> GenericConst:
    return relax.const(0, str(tensor.dtype))
