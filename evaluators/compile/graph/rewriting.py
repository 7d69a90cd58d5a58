"""Rewriting a graph in one pass: each operator is looked at once, with what stands behind its operands known."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tvm import relax
from tvm.ir import Op

from evaluators.compile.graph.peek import Peek

Rule = Callable[[relax.Expr, Peek], relax.Expr | None]
"""What a call (or a part taken of a tuple) is rewritten to, None to leave it."""

PART = "part"
"""The name under which rules for parts of tuples stand."""


def rewrite(function: relax.Function, rules: Mapping[str, tuple[Rule, ...]]) -> relax.Function:
    """The function, each operator (``relax.add``) rewritten by the first of its rules that answers."""
    return _Rewriter(rules).visit_expr(function)


@relax.expr_functor.mutator
class _Rewriter(relax.PyExprMutator):
    def __init__(self, rules: Mapping[str, tuple[Rule, ...]]) -> None:
        super().__init__()
        self._rules = rules

    def visit_call_(self, call: relax.Call) -> relax.Expr:
        call = self.visit_expr_post_order(call)
        known = isinstance(call, relax.Call) and isinstance(call.op, Op)
        return self._rewritten(call, call.op.name) if known else call

    def visit_tuple_getitem_(self, part: relax.TupleGetItem) -> relax.Expr:
        part = self.visit_expr_post_order(part)
        return self._rewritten(part, PART) if isinstance(part, relax.TupleGetItem) else part

    def _rewritten(self, expression: relax.Expr, name: str) -> relax.Expr:
        peek = Peek(self.lookup_binding)
        for rule in self._rules.get(name, ()):
            answer = rule(expression, peek)
            if answer is not None:
                return answer
        return expression
