"""Looking behind the variables of a graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tvm import relax
from tvm.ir import GenericConst, Op
from tvm.runtime import Tensor

CLOSE = 1e-4
"""How far a constant may be, relatively, from the one that a formula has."""


class Peek:
    """What stands behind an expression, given what looks up a variable's value."""

    def __init__(self, lookup: Callable[[relax.Var], relax.Expr | None]) -> None:
        self._lookup = lookup

    def call(self, expression: relax.Expr, *names: str) -> relax.Call | None:
        """The call that makes the expression, when it is of one of the operators (``add``, ``nn.softmax``)."""
        expression = self._behind(expression)
        known = isinstance(expression, relax.Call) and isinstance(expression.op, Op)
        return expression if known and expression.op.name.removeprefix("relax.") in names else None

    def array(self, expression: relax.Expr) -> NDArray[Any] | None:
        """The constant that the expression is."""
        expression = self._behind(expression)
        if isinstance(expression, GenericConst) and isinstance(expression.value, Tensor):
            return np.asarray(expression.value.numpy())
        return None

    def _behind(self, expression: relax.Expr | None) -> relax.Expr | None:
        while isinstance(expression, relax.Var):
            expression = self._lookup(expression)
        return expression

    def number(self, expression: relax.Expr) -> float | None:
        """The only value of a constant."""
        array = self.array(expression)
        return float(array.item()) if array is not None and array.size == 1 else None

    def with_number(self, expression: relax.Expr, name: str) -> tuple[relax.Expr, float] | None:
        """Operand and number of a commutative operator of both."""
        call = self.call(expression, name)
        for one, other in ((0, 1), (1, 0)):
            number = self.number(call.args[other]) if call is not None else None
            if call is not None and number is not None:
                return call.args[one], number
        return None

    def scaled(self, expression: relax.Expr) -> tuple[relax.Expr, float]:
        """Operand and factor of one multiplication or division by a number; the expression and 1 otherwise."""
        product = self.with_number(expression, "multiply")
        if product is not None:
            return product
        quotient = self.call(expression, "divide")
        number = self.number(quotient.args[1]) if quotient is not None else None
        return (quotient.args[0], 1 / number) if quotient is not None and number else (expression, 1.0)

    def factors(self, expression: relax.Expr, whole: relax.Expr) -> tuple[list[relax.Expr], float]:
        """The factors of a product and its number; ``whole`` is not taken apart."""
        if expression.same_as(whole):
            return [expression], 1.0
        number = self.number(expression)
        if number is not None:
            return [], number
        inner, scale = self.scaled(expression)
        if not inner.same_as(expression):
            found, more = self.factors(inner, whole)
            return found, scale * more
        call = self.call(expression, "multiply")
        if call is None:
            return [expression], 1.0
        (left, one), (right, other) = (self.factors(operand, whole) for operand in call.args)
        return left + right, one * other


def close(number: float, wanted: float) -> bool:
    """Whether a constant is the one that a formula has."""
    return abs(number - wanted) <= CLOSE * abs(wanted)
