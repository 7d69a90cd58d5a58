"""The whole graph laid out at once: images NHWC, and data moved only where an operator needs another order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import relax
from tvm.ir import GenericConst, Op
from tvm.tirx import IntImm

from evaluators.compile.graph import over_axes, over_elements, over_images
from evaluators.compile.graph.value import Emitter, Handler, Value, as_stored

HANDLERS: dict[str, Handler] = {**over_elements.HANDLERS, **over_axes.HANDLERS, **over_images.HANDLERS}
"""Operators that can work on values as they lie; all others get them in the order that the graph says."""


def lay_out(function: relax.Function) -> relax.Function:
    """Rewrite a function so that reshapes and permutations wait until someone needs what they give.

    Convolutions, pooling and resizing of images become NHWC. Whatever works the same on any order of the axes
    works on what is stored, so that moves there and back meet and vanish. Functions with branches stay as they
    are.
    """
    branches: list[relax.If] = []
    relax.analysis.post_order_visit(function, lambda e: branches.append(e) if isinstance(e, relax.If) else None)
    return function if branches else _Layouter().visit_expr(function)


@relax.expr_functor.mutator
class _Layouter(relax.PyExprMutator):
    def __init__(self) -> None:
        super().__init__()
        self.values: dict[int, Value | tuple[Value, ...]] = {}
        """By the handle of the old graph's variable."""
        self.emitter = Emitter(self.builder_)

    def visit_var_binding_(self, binding: relax.VarBinding) -> None:
        result = self._value(binding.value)
        if result is None:
            made = self.builder_.emit(self.visit_expr(binding.value))
            if not isinstance(made.ty, relax.TensorType | relax.TupleType):  # a shape, which has no layout
                self.set_var_remap(binding.var, made)
                return
            result = _results(self.builder_, made)
        self.values[hash(binding.var)] = result
        if not isinstance(binding.var, relax.DataflowVar):
            self.set_var_remap(binding.var, self._output(result))

    def _output(self, result: Value | tuple[Value, ...]) -> relax.Var:
        if isinstance(result, tuple):
            expression: relax.Expr = relax.Tuple([self.emitter.store(value) for value in result])
        else:
            expression = self.emitter.store(result)
        inside = self.builder_.current_block_is_dataflow()
        return self.builder_.emit_output(expression) if inside else self.builder_.emit(expression)

    def visit_var_(self, variable: relax.Var) -> relax.Expr:
        value = self.values.get(hash(variable)) if isinstance(variable, relax.DataflowVar) else None
        if isinstance(value, Value):
            return self.emitter.store(value)
        if isinstance(value, tuple):
            return relax.Tuple([self.emitter.store(part) for part in value])
        return self._outer_variable(variable)

    visit_dataflow_var_ = visit_var_

    def _outer_variable(self, variable: relax.Var) -> relax.Var:
        """A variable that no binding of ours made: a parameter."""
        renamed = self.get_var_remap(variable)
        return variable if renamed is None else renamed

    def _value(self, expression: relax.Expr) -> Value | tuple[Value, ...] | None:
        """What an expression gives, where it is known how to work on values as they lie."""
        if isinstance(expression, relax.Var | relax.Tuple | GenericConst):
            known = self._operand(expression)
            return known if isinstance(known, Value | tuple) else None
        if isinstance(expression, relax.TupleGetItem):
            whole = self._operand(expression.tuple_value)
            return whole[expression.index] if isinstance(whole, tuple) else None
        if not isinstance(expression, relax.Call) or not isinstance(expression.op, Op):
            return None
        handler = HANDLERS.get(expression.op.name)
        operands = [self._operand(argument) for argument in expression.args]
        if handler is None or not _is_static(expression) or not _are_static(operands):
            return None
        return handler(expression, operands, self.emitter)

    def _operand(self, expression: Any) -> Any:
        """An operand as a value, a tuple of values, or what it is (numbers and shapes)."""
        if isinstance(expression, relax.Var):
            known = self.values.get(hash(expression))
            if known is not None:
                return known
            return as_stored(self._outer_variable(expression)) if _is_static(expression) else expression
        if isinstance(expression, GenericConst):
            return as_stored(expression)
        if isinstance(expression, relax.Tuple):
            return tuple(self._operand(part) for part in expression.fields)
        return expression


def _results(builder: relax.BlockBuilder, made: relax.Var) -> Value | tuple[Value, ...]:
    """What an operator gave that works on the order the graph says."""
    if not isinstance(made.ty, relax.TupleType):
        return as_stored(made)
    return tuple(as_stored(builder.emit(made[index])) for index in range(len(made.ty.fields)))


def _are_static(operands: Sequence[Any]) -> bool:
    return all(
        _are_static(operand) if isinstance(operand, tuple) else not isinstance(operand, relax.Var)
        for operand in operands
    )


def _is_static(expression: relax.Expr) -> bool:
    """Whether it is a tensor of known extents, or a tuple of such, with elements in it."""
    kind = expression.ty
    if isinstance(kind, relax.TupleType):
        return all(_is_known(part) for part in kind.fields)
    return _is_known(kind)


def _is_known(kind: Any) -> bool:
    extents = getattr(getattr(kind, "shape", None), "values", None)
    return extents is not None and all(isinstance(extent, IntImm) and extent.value > 0 for extent in extents)
