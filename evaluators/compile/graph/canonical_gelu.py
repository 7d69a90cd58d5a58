"""Decomposed GELU: x/2 (1 + erf(x/sqrt 2)), and its approximation by tanh."""

from __future__ import annotations

import math
from collections.abc import Callable

from tvm import relax

from evaluators.compile.graph.peek import Peek, close

_DEPTH = 3
"""Products within products that are looked through for the factor that holds erf or tanh."""


def gelu(call: relax.Call, peek: Peek) -> relax.Expr | None:
    """The product as GELU, by Hendrycks and Gimpel's definition or its approximation."""
    for factor in _operands(call, peek, _DEPTH):
        found = _argument(factor, peek)
        if found is not None:
            data, operator = found
            factors, number = peek.factors(call, data)
            pair = sorted(factors, key=lambda each: not each.same_as(data))
            if len(pair) == 2 and pair[0].same_as(data) and pair[1].same_as(factor) and close(number, 0.5):
                return operator(data)
    return None


def _operands(call: relax.Call, peek: Peek, depth: int) -> list[relax.Expr]:
    found = list(call.args[:2])
    for operand in call.args[:2]:
        inner = peek.call(operand, "multiply") if depth else None
        if inner is not None:
            found += _operands(inner, peek, depth - 1)
    return found


def _argument(factor: relax.Expr, peek: Peek) -> tuple[relax.Expr, Callable[[relax.Expr], relax.Expr]] | None:
    """x and the operator, when the factor is 1 + erf(x/sqrt 2) or 1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))."""
    raised = peek.with_number(factor, "add")
    if raised is None or raised[1] != 1:
        return None
    erf = peek.call(raised[0], "erf")
    if erf is not None:
        data, scale = peek.scaled(erf.args[0])
        return (data, relax.op.nn.gelu) if close(scale, math.sqrt(0.5)) else None
    tanh = peek.call(raised[0], "tanh")
    inner, scale = peek.scaled(tanh.args[0]) if tanh is not None else (factor, 0.0)
    total = peek.call(inner, "add")
    if total is None or not close(scale, math.sqrt(2 / math.pi)):
        return None
    for data, cubic in (total.args, reversed(total.args)):
        power, share = peek.scaled(cubic)
        if close(share, 0.044715) and _is_cube(power, data, peek):
            return data, relax.op.nn.gelu_tanh
    return None


def _is_cube(expression: relax.Expr, data: relax.Expr, peek: Peek) -> bool:
    power = peek.call(expression, "power")
    if power is not None:
        return power.args[0].same_as(data) and peek.number(power.args[1]) == 3
    factors, number = peek.factors(expression, data)
    return number == 1 and len(factors) == 3 and all(factor.same_as(data) for factor in factors)
