"""The kernels of a network that can be built in several ways, each as a small graph of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import tvm
from tvm import relax
from tvm.ir import GenericConst

from evaluators.compile.choices import Choice, KernelKey
from evaluators.compile.legalize.context import Context, Legalizer
from evaluators.compile.legalize.kernels import LEGALIZERS, first_of
from hw_profiles.profile import Profile


@dataclass(frozen=True)
class Case:
    """A kernel with its options, the model's own first, and how often the network holds it.

    ``graph`` is a relax module as JSON whose ``main`` is the one operator that makes the kernel, with its
    constants: what another process needs to build it.
    """

    key: KernelKey
    options: tuple[Choice, ...]
    graph: str
    count: int = 1


def find_cases(graph: tvm.IRModule, profile: Profile) -> list[Case]:
    """Every kernel of a prepared graph for which there is more than one option."""
    cases: dict[KernelKey, Case] = {}
    watched = {
        name: first_of(tuple(_watched(each, cases) for each in legalizers), Context(profile, _first))
        for name, legalizers in LEGALIZERS.items()
    }
    relax.transform.LegalizeOps(watched)(graph)
    return list(cases.values())


def _first(key: KernelKey, options: Sequence[Choice]) -> Choice:
    return options[0]


def _watched(legalizer: Legalizer, cases: dict[KernelKey, Case]) -> Legalizer:
    """The legalizer, with a note of each choice that it asks for and of the call that made it ask."""

    def legalize(builder: relax.BlockBuilder, call: relax.Call, context: Context) -> relax.Expr | None:
        def note(key: KernelKey, options: Sequence[Choice]) -> Choice:
            if key in cases:
                cases[key] = replace(cases[key], count=cases[key].count + 1)
            elif len(options) > 1:
                cases[key] = Case(key, tuple(options), tvm.ir.save_json(_alone(call)))
            return options[0]

        return legalizer(builder, call, replace(context, choose=note))

    return legalize


def _alone(call: relax.Call) -> tvm.IRModule:
    """The operator as a network: its constants kept, whatever is computed before it an input."""
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
            result = builder.emit_output(relax.Call(call.op, arguments, call.attrs, call.ty_args))
        builder.emit_func_output(result)
    return builder.finalize()
