"""Quantised graphs (QuantizeLinear and DequantizeLinear around float operators) computed in integers.

The form is that of ONNX's QDQ models; the arithmetic that of Jacob et al., "Quantization and Training of Neural
Networks for Efficient Integer-Arithmetic-Only Inference" (2018), with the rescaling in float32, where it fuses
with whatever element-wise work stands between two layers:

- a quantised activation is held as ``integers.py`` says;
- a product of a quantised activation with quantised constant weights becomes an integer product, scaled behind;
- so does a depthwise convolution whose weights let no sum of its taps overflow 16 bits, where the processor adds
  products there;
- other depthwise and narrow convolutions multiply the same integers as floats, which is exact below 2 ** 24;
  depthwise ones read them as numbers of 8 or 16 bits;
- a product of an activation in float32 with quantised constant weights keeps them in bytes, which
  ``kernels/dense.py`` widens as it reads them, and is scaled behind;
- a factor behind clips and products of activations (hard-swish, gates) goes into the constants before them;
- all other operators compute on the scaled values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import relax
from tvm.ir import GenericConst

from evaluators.compile.graph.access import Array, array_of, constant, static_shape
from evaluators.compile.integers import Dot, rows_are_exact

_QUANTISED = ("relax.quantize", "relax.dequantize")
_LIMITS = {"uint8": (0, 255), "int8": (-128, 127)}
_MOST_ROUNDED = 2.0**30
"""Below, floats become whole numbers without clipping, whatever is added then."""
_EXACT = 2.0**24
"""Below, floats hold all whole numbers."""
_MONOTONE = {"relax.add": relax.op.add, "relax.maximum": relax.op.maximum, "relax.minimum": relax.op.minimum}
"""Of two operands, what a positive factor goes through to both."""
_MOST_WEIGHT = 127
_LEAST_INPUTS = 8
"""Input channels from which on integers pay."""


@dataclass(frozen=True)
class _Grid:
    """A quantised activation: its tensor as it was, what its numbers mean, how they are held (``integers.py``)."""

    tensor: relax.Var
    scale: float
    zero_point: int
    dtype: str
    dot: Dot
    held: str
    offset: int

    def bounds(self) -> tuple[int, int]:
        """The lowest and highest of q - z."""
        low, high = _LIMITS[self.dtype]
        return low - self.zero_point, high - self.zero_point


@dataclass(frozen=True)
class _Weights:
    """Quantised weights without their zero points, and a scale for each output channel (or one)."""

    values: NDArray[np.int16]
    scale: NDArray[np.float32]


def use_integers(module: tvm.IRModule, dots: tuple[Dot, ...]) -> tvm.IRModule:
    """The module with quantised products in integers, each by the first of ``dots`` that suits all its readers.

    Without quantisation it is left as it is.
    """
    definitions, users = _read(module["main"])
    if not any(_is(value, name) for value in definitions.values() for name in _QUANTISED):
        return module
    module = tvm.IRModule(module.functions, attrs=module.attrs)
    module["main"] = _Integers(definitions, users, dots).visit_expr(module["main"])
    return relax.transform.DeadCodeElimination()(relax.transform.Normalize()(module))


def _read(function: relax.Function) -> tuple[dict[relax.Var, relax.Expr], _Users]:
    """What each variable is bound to, and who uses it."""
    definitions: dict[relax.Var, relax.Expr] = {}
    users: _Users = {}
    for block in function.body.blocks:
        for binding in block.bindings:
            definitions[binding.var] = binding.value
            for used in relax.analysis.free_vars(binding.value):
                users.setdefault(used, []).append((binding.var, binding.value))
    users.setdefault(function.body.body, []).append((function.body.body, function.body.body))
    return definitions, users


def _is(value: relax.Expr | None, name: str) -> bool:
    return isinstance(value, relax.Call) and isinstance(value.op, tvm.ir.Op) and value.op.name == name


_Users = dict[relax.Var, list[tuple[relax.Var, relax.Expr]]]
"""By a variable, the bindings that read it."""


@relax.expr_functor.mutator
class _Integers(relax.PyExprMutator):
    def __init__(self, definitions: dict[relax.Var, relax.Expr], users: _Users, dots: tuple[Dot, ...]) -> None:
        super().__init__()
        self._definitions, self._users, self._dots = definitions, users, dots
        self._chosen: dict[relax.Var, Dot] = {}
        self._rewrites = {
            "relax.quantize": self._quantize,
            "relax.dequantize": self._dequantize,
            "relax.nn.conv2d": self._convolution,
            "relax.matmul": self._product,
            "relax.add": self._sum,
            "relax.clip": self._between,
            "relax.divide": self._quotient,
        }

    def visit_call_(self, call: relax.Call) -> relax.Expr:
        rewrite = self._rewrites.get(call.op.name) if isinstance(call.op, tvm.ir.Op) else None
        answer = rewrite(call) if rewrite else None
        return self.visit_expr_post_order(call) if answer is None else answer

    def _quantize(self, call: relax.Call) -> relax.Expr | None:
        tensor = next((var for var, value in self._definitions.items() if value.same_as(call)), None)
        grid = self._grid_of(tensor) if tensor is not None else None
        if grid is None:
            return None
        low, high = grid.bounds()
        value = self.visit_expr(call.args[0])
        if low == 0 and _is(self._made(value), "relax.nn.relu"):  # narrowing saturates there
            value = self._made(value).args[0]
        scaled = self._scaled(value, np.float32(1 / grid.scale))
        held = np.iinfo(grid.held)
        if self._bound(scaled) >= _MOST_ROUNDED:
            scaled = self._emit(relax.op.maximum(scaled, relax.const(float(low), "float32")))
            scaled = self._emit(relax.op.minimum(scaled, relax.const(float(high), "float32")))
        whole = self._emit(relax.op.astype(self._emit(relax.op.round(scaled)), "int32"))
        if grid.offset:
            whole = self._emit(relax.op.add(whole, relax.const(grid.offset, "int32")))
        whole = self._clipped(whole, int(held.min), int(held.max))
        whole = self._emit(relax.op.astype(whole, grid.held))
        return self._clipped(whole, low + grid.offset, high + grid.offset)

    def _clipped(self, whole: relax.Expr, low: int, high: int) -> relax.Expr:
        """Whole numbers between two bounds; in two steps, for vectors narrow as they saturate."""
        dtype = str(whole.ty.dtype)
        limits = np.iinfo(dtype)
        if low > limits.min:
            whole = self._emit(relax.op.maximum(whole, relax.const(low, dtype)))
        return self._emit(relax.op.minimum(whole, relax.const(high, dtype))) if high < limits.max else whole

    def _bound(self, value: relax.Expr) -> float:
        """What no absolute value is above."""
        bound = self._made(value)
        known = self._known(value)
        if known is not None:
            return float(np.abs(known).max(initial=0.0))
        if _is(bound, "relax.astype"):
            return self._most(bound.args[0])
        if _is(bound, "relax.nn.conv2d") and bound.args[0].ty.dtype != "float32":
            return _EXACT
        if _is(bound, "relax.multiply"):
            return self._bound(bound.args[0]) * self._bound(bound.args[1])
        if _is(bound, "relax.add"):
            return self._bound(bound.args[0]) + self._bound(bound.args[1])
        if _is(bound, "relax.minimum") and _is(self._made(bound.args[0]), "relax.maximum"):  # between two bounds
            return max(self._bound(bound.args[1]), self._bound(self._made(bound.args[0]).args[1]))
        return self._bound(bound.args[0]) if _is(bound, "relax.nn.relu") else math.inf

    def _most(self, whole: relax.Expr) -> float:
        """What no absolute value of a tensor of whole numbers is above."""
        made = self._made(whole)
        if (_is(made, "relax.nn.conv2d") or _is(made, "relax.matmul")) and isinstance(made.args[1], GenericConst):
            values = np.abs(array_of(made.args[1]).astype(np.float64))
            sums = values.sum(0) if values.ndim == 2 else values.reshape(len(values), -1).sum(1)
            return float(sums.max() * self._most(made.args[0]))
        dtype = str(whole.ty.dtype)
        return float(np.iinfo(dtype).max) + 1 if "int" in dtype else math.inf

    def _scaled(self, value: relax.Expr, factor: np.float32) -> relax.Expr:
        """The value times a factor above 0, which goes into constants that multiply it or that are added."""
        taken = self._absorbed(value, factor)
        return self._emit(relax.op.multiply(value, relax.const(factor, "float32"))) if taken is None else taken

    def _absorbed(self, value: relax.Expr, factor: np.float32) -> relax.Expr | None:
        """The value times a factor above 0, with no operation more; None where no constant takes it."""
        bound = self._made(value)
        if _is(bound, "relax.nn.relu"):
            return self._emit(relax.op.nn.relu(self._scaled(bound.args[0], factor)))
        if _is(bound, "relax.multiply"):
            return self._absorbed_by_product(bound, factor)
        for name, operator in _MONOTONE.items():
            known = self._known(bound.args[1]) if _is(bound, name) else None
            if known is not None:
                return self._emit(operator(self._scaled(bound.args[0], factor), constant(known * factor)))
        return None

    def _absorbed_by_product(self, product: relax.Call, factor: np.float32) -> relax.Expr | None:
        left, right = product.args
        known = self._known(right)
        if known is None:  # of two activations: a constant in one of them
            for kept, other in ((left, right), (right, left)):
                inner = self._made(other)
                constant_in_it = _is(inner, "relax.multiply") and self._known(inner.args[1]) is not None
                gate = _is(inner, "relax.minimum") and _size(other) < _size(product)
                if constant_in_it or gate:
                    return self._emit(relax.op.multiply(kept, self._scaled(other, factor)))
            return None
        if known.size == 1 and known > 0 and _is(self._made(left), "relax.minimum"):  # no multiplication is left
            return self._absorbed(left, np.float32(known.item() * factor))
        return self._emit(relax.op.multiply(left, constant(known * factor)))

    def _known(self, operand: relax.Expr) -> Array | None:
        """The value of an operand that is constant, maybe reshaped."""
        bound = self._made(operand)
        if isinstance(bound, GenericConst):
            return array_of(bound)
        if _is(bound, "relax.reshape"):
            source = self._known(bound.args[0])
            return None if source is None else source.reshape(static_shape(bound))
        return None

    def _dequantize(self, call: relax.Call) -> relax.Expr | None:
        grid = self._grid_of(call.args[0])
        if grid is None:
            return constant(_dequantized(call)) if isinstance(call.args[0], GenericConst) else None
        return relax.op.multiply(self._whole(grid), relax.const(grid.scale, "float32"))

    def _convolution(self, call: relax.Call) -> relax.Expr | None:
        grid, weights = self._dequantized_grid(call.args[0]), self._weights(call.args[1])
        attrs = call.attrs
        if grid is None or weights is None or (attrs.data_layout, attrs.kernel_layout) != ("NCHW", "OIHW"):
            return None
        scale = (weights.scale * np.float32(grid.scale)).reshape(1, -1, 1, 1)
        options = {
            "strides": attrs.strides,
            "dilation": attrs.dilation,
            "groups": attrs.groups,
            "padding": attrs.padding,
        }
        pays = (
            self._is_exact(weights) if _is_depthwise(call) else int(attrs.groups) == 1 and _pays(weights, grid.dot)
        )
        if not pays or (grid.held == "int16" and _is_depthwise(call)):
            plain = grid.offset == 0 and _is_depthwise(call)
            data = self.visit_expr(grid.tensor) if plain else self._whole(grid)
            filters = constant(weights.values.astype(np.float32))
            floats = relax.op.nn.conv2d(data, filters, out_dtype="float32", **options)
            return relax.op.multiply(self._emit(floats), constant(scale))
        offset = grid.offset
        data = self.visit_expr(grid.tensor)
        top, left, bottom, right = (int(side) for side in attrs.padding)
        if offset and (top or left or bottom or right):
            around = [0, 0, 0, 0, top, bottom, left, right]
            data = self._emit(relax.op.nn.pad(data, around, pad_value=float(offset)))
            options["padding"] = (0, 0, 0, 0)
        bytes_ = constant(weights.values.astype(np.int8))
        sums = self._emit(relax.op.nn.conv2d(data, bytes_, out_dtype="int32", **options))
        excess = offset * weights.values.sum(axis=(1, 2, 3), dtype=np.int64).reshape(1, -1, 1, 1)
        return self._rescaled(sums, excess, scale)

    def _product(self, call: relax.Call) -> relax.Expr | None:
        grid, weights = self._dequantized_grid(call.args[0]), self._weights(call.args[1])
        if weights is None or weights.values.ndim != 2:
            return None
        if grid is None:
            return self._stored(call.args[0], weights)
        if not _pays(weights, grid.dot):
            return None
        matrix = constant(weights.values.astype(np.int8))
        sums = self._emit(relax.op.matmul(self.visit_expr(grid.tensor), matrix, out_dtype="int32"))
        excess = grid.offset * weights.values.sum(axis=0, dtype=np.int64)
        return self._rescaled(sums, excess, weights.scale * np.float32(grid.scale))

    def _stored(self, tensor: relax.Expr, weights: _Weights) -> relax.Expr | None:
        """The product of a tensor in float32 with weights that stay in bytes."""
        matrix = constant(weights.values.astype(np.int8))
        if str(tensor.ty.dtype) != "float32" or not np.array_equal(array_of(matrix), weights.values):
            return None
        product = self._emit(relax.op.matmul(self.visit_expr(tensor), matrix, out_dtype="float32"))
        return relax.op.multiply(product, constant(weights.scale))

    def _sum(self, call: relax.Call) -> relax.Expr | None:
        """A bias behind another constant that was added, as one."""
        bias = self._known(call.args[1])
        if bias is None:
            return None
        inner = self._made(self.visit_expr(call.args[0]))
        before = self._known(inner.args[1]) if _is(inner, "relax.add") else None
        if before is None or before.ndim != len(static_shape(call)):
            return None
        return relax.op.add(inner.args[0], constant(before + bias))

    def _between(self, call: relax.Call) -> relax.Expr:
        """A clip as the two operations that factors go through."""
        value, low, high = call.args
        raised = self._emit(relax.op.maximum(self.visit_expr(value), relax.const(low.value, str(call.ty.dtype))))
        return relax.op.minimum(raised, relax.const(high.value, str(call.ty.dtype)))

    def _quotient(self, call: relax.Call) -> relax.Expr | None:
        """A division by one number above 0 as the multiplication that takes factors."""
        divisor = self._known(call.args[1])
        if divisor is None or divisor.size != 1 or divisor.item() <= 0 or str(call.ty.dtype) != "float32":
            return None
        inverse = relax.const(np.float32(1 / divisor.item()), "float32")
        return relax.op.multiply(self.visit_expr(call.args[0]), inverse)

    def _rescaled(self, sums: relax.Expr, excess: NDArray[np.int64], scale: NDArray[np.float32]) -> relax.Expr:
        """``(sums - excess) * scale``; what is subtracted goes into the bias where floats hold it exactly."""
        exact = bool(np.abs(excess).max(initial=0) < _EXACT)
        if excess.any() and not exact:
            sums = self._emit(relax.op.subtract(sums, constant(excess.astype(np.int32))))
        scaled = relax.op.multiply(self._emit(relax.op.astype(sums, "float32")), constant(scale))
        if not (excess.any() and exact):
            return scaled
        shift = (-excess * scale.astype(np.float64)).astype(np.float32)
        return relax.op.add(self._emit(scaled), constant(shift))

    def _whole(self, grid: _Grid) -> relax.Expr:
        """q - z of a quantised activation, as floats."""
        floats = self._emit(relax.op.astype(self.visit_expr(grid.tensor), "float32"))
        offset = float(grid.offset)
        return self._emit(relax.op.subtract(floats, relax.const(offset, "float32"))) if offset else floats

    def _made(self, value: relax.Expr) -> relax.Expr:
        """What a variable is bound to in the new graph; any other expression itself."""
        return self.lookup_binding(value) if isinstance(value, relax.Var) else value

    def _emit(self, value: relax.Expr) -> relax.Expr:
        return self.builder_.emit(value)

    def _dequantized_grid(self, operand: relax.Expr) -> _Grid | None:
        value = self._definitions.get(operand)
        return self._grid_of(value.args[0]) if value is not None and _is(value, "relax.dequantize") else None

    def _grid_of(self, tensor: relax.Expr) -> _Grid | None:
        """An activation quantised with one scale, read by nothing but dequantisations."""
        value = self._definitions.get(tensor)
        if value is None or not _is(value, "relax.quantize"):
            return None
        scale, zero_point = (array_of(operand) for operand in value.args[1:])
        users = self._users.get(tensor, [])
        only = all(_is(user, "relax.dequantize") for _, user in users)
        dtype = str(value.attrs.out_dtype)
        if not only or scale.size != 1 or zero_point.size != 1 or dtype not in _LIMITS:
            return None
        zero = int(zero_point.reshape(()))
        readers = [reader for var, _ in users for _, reader in self._users.get(var, [])]
        if tensor not in self._chosen:
            self._chosen[tensor] = self._dot_for(readers)
        dot, lowest = self._chosen[tensor], _LIMITS[dtype][0]
        if readers and all(map(_is_depthwise, readers)):
            known = [self._weights(reader.args[1]) for reader in readers]
            if all(weights is not None and self._is_exact(weights) for weights in known):
                return _Grid(tensor, float(scale.reshape(())), zero, dtype, dot, "uint8", zero - lowest)
            held, offset = "uint8" if zero == lowest else "int16", 0
        else:
            held, offset = dot.dtype, dot.offset(zero, lowest)
        return _Grid(tensor, float(scale.reshape(())), zero, dtype, dot, held, offset)

    def _is_exact(self, weights: _Weights) -> bool:
        """Whether the processor's products of bytes suit a depthwise layer of these weights."""
        exact = bool(np.all(np.abs(weights.values) <= _MOST_WEIGHT)) and rows_are_exact(weights.values)
        return self._dots[0].pairs is not None and len(weights.values) % 8 == 0 and exact

    def _dot_for(self, readers: list[relax.Expr]) -> Dot:
        """The first that all products among the readers of an activation can use."""
        weights = [self._weights(reader.args[1]) for reader in readers if _is_product(reader)]
        known = [each for each in weights if each is not None and _has_inputs(each)]
        suiting = (dot for dot in self._dots[:-1] if known and all(_suits(each, dot) for each in known))
        return next(suiting, self._dots[-1])

    def _weights(self, operand: relax.Expr) -> _Weights | None:
        """Constant weights behind a dequantisation, and maybe a transposition of a matrix."""
        value = self._definitions.get(operand)
        turned = _is(value, "relax.permute_dims")
        if value is not None and turned:
            value = self._definitions.get(value.args[0])
        weights = _weights_of(value) if value is not None and _is(value, "relax.dequantize") else None
        if value is None or weights is None:
            return None
        outputs = 1 if weights.values.ndim == 2 and not turned else 0
        if weights.scale.size > 1 and int(value.attrs.axis) != outputs:
            return None
        return _Weights(weights.values.T, weights.scale) if turned else weights


def _size(tensor: relax.Expr) -> int:
    return math.prod(static_shape(tensor))


def _is_product(expression: relax.Expr) -> bool:
    """Whether it is one with all inputs: of matrices, or a convolution of one group."""
    return _is(expression, "relax.matmul") or (
        _is(expression, "relax.nn.conv2d") and int(expression.attrs.groups) == 1
    )


def _has_inputs(weights: _Weights) -> bool:
    """Whether there are enough inputs for integers to pay."""
    values = weights.values
    return bool((values.shape[0] if values.ndim == 2 else values.shape[1]) >= _LEAST_INPUTS)


def _pays(weights: _Weights, dot: Dot) -> bool:
    """Whether the product is better computed in integers."""
    values = weights.values
    outputs = values.shape[1] if values.ndim == 2 else values.shape[0]
    bytes_ = bool(np.all((values >= -128) & (values <= 127)))
    return bytes_ and outputs >= dot.lanes and _has_inputs(weights) and _suits(weights, dot)


def _suits(weights: _Weights, dot: Dot) -> bool:
    """Whether the instruction gives exact sums with all groups of the weights (I, O) or (O, I, H, W)."""
    values = weights.values
    matrix = values if values.ndim == 2 else values.transpose(2, 3, 1, 0).reshape(-1, values.shape[0])
    return matrix.shape[0] % dot.depth == 0 and dot.is_exact(matrix)


def _is_depthwise(expression: relax.Expr) -> bool:
    """Whether it is a convolution with as many groups as channels on both sides."""
    if not _is(expression, "relax.nn.conv2d"):
        return False
    outputs, inputs = static_shape(expression.args[1])[:2]
    return inputs == 1 and outputs == int(expression.attrs.groups) > 1


def _weights_of(call: relax.Call) -> _Weights | None:
    data, scale, zero_point = call.args
    if not isinstance(data, GenericConst) or array_of(data).dtype.itemsize != 1:
        return None
    values = array_of(data).astype(np.int16)
    zeros = array_of(zero_point).astype(np.int16)
    return _Weights(values - _along(zeros, int(call.attrs.axis), values.ndim), array_of(scale).reshape(-1))


def _dequantized(call: relax.Call) -> NDArray[np.float32]:
    data, scale, zero_point = (array_of(operand) for operand in call.args)
    axis = int(call.attrs.axis)
    whole = data.astype(np.int64) - _along(zero_point.astype(np.int64), axis, data.ndim)
    return np.asarray(whole * _along(scale, axis, data.ndim), dtype=np.float32)


def _along(values: NDArray[Any], axis: int, rank: int) -> NDArray[Any]:
    """One value, or one for each position of an axis, in the form that broadcasts."""
    if values.size == 1:
        return values.reshape(())
    shape = [1] * rank
    shape[axis] = values.size
    return values.reshape(shape)
