"""Several programs of one network in one library, which holds each of their constants once."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import tvm
import tvm_ffi
from numpy.typing import NDArray
from tvm import relax
from tvm.ir import GenericConst, GlobalVar
from tvm.runtime import Tensor
from tvm.tirx import PrimFunc

from evaluators.compile.graph.access import static_shape, with_attributes
from evaluators.compile.legalize.context import Packing, Size, whole
from evaluators.compile.machine_code import CONTENT, name_by_content
from evaluators.compile.products import Product, shared_columns
from hw_profiles.profile import Profile
from results.bundle.runner import MAIN

_BROADCAST = [f"relax.{name}" for name in ("add", "subtract", "multiply", "divide", "maximum", "minimum")]


def alike(graphs: Sequence[tvm.IRModule]) -> list[tvm.IRModule]:
    """Prepared graphs whose constants differ as little as they can; one graph alone stays as it is.

    An operand has no leading axes of 1, which broadcasting adds anyway and others may not have.
    """
    if len(graphs) == 1:
        return list(graphs)
    made = [tvm.IRModule(graph.functions, attrs=graph.attrs) for graph in graphs]
    for graph in made:
        graph[MAIN] = _Operands().visit_expr(graph[MAIN])
    return made


@relax.expr_functor.mutator
class _Operands(relax.PyExprMutator):
    def visit_call_(self, call: relax.Call) -> relax.Expr:
        call = self.visit_expr_post_order(call)
        if getattr(getattr(call, "op", None), "name", "") not in _BROADCAST:
            return call
        left, right = call.args
        full = static_shape(call)
        return with_attributes(call, [_bare(left, right, full), _bare(right, left, full)])


def _bare(operand: relax.Expr, other: relax.Expr, full: tuple[int, ...]) -> relax.Expr:
    """A constant operand without leading axes of 1, where the ``other`` has all of the result's axes."""
    if not isinstance(operand, GenericConst) or static_shape(other) != full:
        return operand
    values = operand.value.numpy()
    while values.shape[:1] == (1,):
        values = values[0]
    return relax.const(values, str(values.dtype))


def packing_of(graphs: Sequence[tvm.IRModule], profile: Profile) -> Packing:
    """How prepared graphs pack the constant matrices that several of their kernels read, so that once is enough.

    Those are matrices that are multiplied by different numbers of rows, and tables of tokens that read answers.
    Nothing is said of one graph alone.
    """
    found = _Matrices()
    for graph in graphs if len(graphs) > 1 else ():
        relax.analysis.post_order_visit(graph[MAIN].body, found.visit)
    tables = frozenset(found.tables())
    panels = {
        size: shared_columns(sorted(products, key=lambda product: product.rows), profile)
        for size, products in found.products.items()
        if len(products) > 1 or size in tables
    }
    return Packing(panels, tables)


class _Matrices:
    """The constant matrices of graphs: by size, the products by them, and their values."""

    def __init__(self) -> None:
        self.products: dict[Size, set[Product]] = {}
        self._values: dict[Size, list[NDArray[Any]]] = {}
        self._picked: list[NDArray[Any]] = []

    def visit(self, expression: relax.Expr) -> None:
        """Note what a call of a graph reads."""
        if not isinstance(expression, relax.Call) or len(expression.args) < 2:
            return
        name, (first, second) = getattr(expression.op, "name", ""), expression.args[:2]
        if name == "relax.matmul" and _is_matrix(second):
            *outer, columns = whole(expression.ty.shape)
            size, values = (int(second.ty.shape[0]), columns), second.value.numpy()
            product = Product(math.prod(outer), *size, narrow=values.dtype == np.int8)
            self.products.setdefault(size, set()).add(product)
            self._values.setdefault(size, []).append(values)
        elif name == "relax.take" and _is_matrix(first):
            self._picked.append(first.value.numpy())

    def tables(self) -> Iterator[Size]:
        """The sizes of matrices whose columns are picked as well."""
        for table in self._picked:
            if any(np.array_equal(table.T, matrix) for matrix in self._values.get(table.T.shape, ())):
                yield table.T.shape


def _is_matrix(expression: relax.Expr) -> bool:
    return isinstance(expression, GenericConst) and len(expression.ty.shape) == 2


def joined(programs: Mapping[str, tvm.IRModule]) -> tvm.IRModule:
    """Scheduled modules as one, in which the ``main`` of each is called as the program is.

    Constants of the same values become one, as do kernels of the same code.
    """
    if len(programs) == 1:
        return next(iter(programs.values()))
    share, known = _Shared(), dict[str, GlobalVar]()
    functions: dict[GlobalVar, relax.Function | PrimFunc] = {}
    for program, module in programs.items():
        parts = _named_by_content(module).functions_items()
        own = {variable: _variable(variable, program, known) for variable, _ in parts}
        rename = partial(_replaced, own)
        for variable, function in parts:
            if isinstance(function, relax.Function):
                function = tvm_ffi.structural_map(function, ((GlobalVar, rename), (GenericConst, share)))
            functions[own[variable]] = function
    return tvm.IRModule(functions)


def _named_by_content(module: tvm.IRModule) -> tvm.IRModule:
    """The module, its kernels named so that equal names are equal kernels."""
    kernels = [each for _, each in module.functions_items() if isinstance(each, PrimFunc)]
    if all(CONTENT in (kernel.attrs or {}) for kernel in kernels):
        return module
    (named,) = name_by_content(module)
    return named


def _variable(variable: GlobalVar, program: str, known: dict[str, GlobalVar]) -> GlobalVar:
    """What a function of a program's module is called by all programs."""
    if variable.name_hint != MAIN:
        return known.setdefault(variable.name_hint, variable)
    main = GlobalVar(program)
    relax.expr._update_type(main, variable.ty)
    return main


def _replaced(own: Mapping[GlobalVar, GlobalVar], variable: GlobalVar) -> GlobalVar:
    return own.get(variable, variable)


class _Shared:
    """The first constant of its values in place of all others."""

    def __init__(self) -> None:
        self._held: dict[tuple[object, ...], GenericConst] = {}

    def __call__(self, constant: GenericConst) -> GenericConst:
        if not isinstance(constant.value, Tensor):
            return constant
        values = constant.value.numpy()
        key = (values.shape, str(values.dtype), hashlib.sha256(values.tobytes()).digest())
        return self._held.setdefault(key, constant)
