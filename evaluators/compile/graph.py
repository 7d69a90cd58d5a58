"""Work on the whole graph before kernels are made: folding, plain activations, one layout.

Done on relax, so that networks and teachers given as ``torch.export`` programs get the same treatment.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import relax
from tvm.ir import GenericConst
from tvm.relax.dpl import TupleGetItemPattern, is_const, is_op, rewrite_call, wildcard

Array = NDArray[np.float32]


def prepare(module: tvm.IRModule) -> tvm.IRModule:
    """Fold batch norm, make clips fusible, lay images out as NHWC and fold what is constant."""
    module = _rewrite_main(module, fold_batch_norm)
    module = relax.transform.DecomposeOpsForInference()(module)
    module = _rewrite_main(module, split_clips)
    module = _rewrite_main(module, pool_by_mean)
    module = relax.transform.ConvertLayout({"relax.nn.conv2d": ["NHWC", "HWIO"]})(module)
    module = _rewrite_main(module, fold_constant_shapes)
    return relax.transform.CanonicalizeBindings()(module)


def _rewrite_main(module: tvm.IRModule, rewrite: Callable[[relax.Function], relax.Function]) -> tvm.IRModule:
    module = tvm.IRModule(module.functions, attrs=module.attrs)
    module["main"] = rewrite(module["main"])
    return module


def fold_batch_norm(function: relax.Function) -> relax.Function:
    """Scale the weights of a convolution by the batch norm behind it, and add its shift as a bias."""
    weight = is_const()
    parts = [is_const() for _ in range(4)]
    image = wildcard()
    plain = is_op("relax.nn.conv2d")(image, weight)
    bias = is_const()
    biased = is_op("relax.add")(plain, bias)
    for convolution in (biased, plain):
        norm = is_op("relax.nn.batch_norm")(convolution, *parts)

        def rewrite(found: relax.Expr, matches: Any, norm: Any = norm) -> relax.Expr:
            call, layer = matches[plain], matches[norm]
            if layer.attrs.axis != 1 or call.attrs.kernel_layout != "OIHW":
                return found
            gamma, beta, mean, variance = (_array(matches[part]) for part in parts)
            scale = gamma / np.sqrt(variance + float(layer.attrs.epsilon))
            before = _array(matches[bias]).reshape(-1) if bias in matches else np.float32(0)
            shift = beta + (before - mean) * scale
            scaled = relax.Call(
                call.op,
                [matches[image], _constant(_array(matches[weight]) * scale.reshape(-1, 1, 1, 1))],
                call.attrs,
            )
            return relax.op.add(scaled, _constant(shift.reshape(1, -1, 1, 1)))

        function = rewrite_call(TupleGetItemPattern(norm, 0), rewrite, function)
    return function


def split_clips(function: relax.Function) -> relax.Function:
    """Write clip as maximum and minimum with constants, which lay out and fuse like any element-wise operator."""
    data, low, high = wildcard(), wildcard(), wildcard()

    def rewrite(_: relax.Expr, matches: Any) -> relax.Expr:
        result = matches[data]
        bottom, top = _number(matches[low]), _number(matches[high])
        if bottom > -math.inf:
            result = relax.op.maximum(result, relax.const(bottom, "float32"))
        if top < math.inf:
            result = relax.op.minimum(result, relax.const(top, "float32"))
        return result

    return rewrite_call(is_op("relax.clip")(data, low, high), rewrite, function)


def pool_by_mean(function: relax.Function) -> relax.Function:
    """Write average pooling to one pixel as the mean that it is."""
    data = wildcard()
    pool = is_op("relax.nn.adaptive_avg_pool2d")(data)

    def rewrite(found: relax.Expr, matches: Any) -> relax.Expr:
        attrs = matches[pool].attrs
        if attrs.layout != "NCHW" or [int(size) for size in attrs.output_size] != [1, 1]:
            return found
        return relax.op.mean(matches[data], axis=[2, 3], keepdims=True)

    return rewrite_call(pool, rewrite, function)


def fold_constant_shapes(function: relax.Function) -> relax.Function:
    """Reorder and reshape constants now, and turn transposes that move no data into reshapes."""
    return _ShapeFolder().visit_expr(function)


@relax.expr_functor.mutator
class _ShapeFolder(relax.PyExprMutator):
    def visit_call_(self, call: relax.Call) -> relax.Expr:
        call = self.visit_expr_post_order(call)
        if not isinstance(call, relax.Call) or call.op.name not in ("relax.permute_dims", "relax.reshape"):
            return call
        source = self._constant(call.args[0])
        shape = [int(extent) for extent in call.ty.shape]
        if call.op.name == "relax.reshape":
            return call if source is None else _constant(source.reshape(shape))
        axes = _axes(call)
        if source is not None:
            return _constant(np.ascontiguousarray(source.transpose(axes)))
        extents = [int(extent) for extent in call.args[0].ty.shape]
        kept = [axis for axis in axes if extents[axis] > 1]
        return relax.op.reshape(call.args[0], shape) if kept == sorted(kept) else call

    def _constant(self, expression: relax.Expr) -> Array | None:
        if isinstance(expression, relax.Var):
            expression = self.lookup_binding(expression)
        return _array(expression) if isinstance(expression, GenericConst) else None


def _axes(call: relax.Call) -> list[int]:
    rank = len(call.args[0].ty.shape)
    given = call.attrs.axes
    return [int(axis) % rank for axis in given] if given is not None else list(range(rank))[::-1]


def _array(constant: GenericConst) -> Array:
    return constant.value.numpy()  # type: ignore[no-any-return]


def _constant(array: Array) -> GenericConst:
    return relax.const(np.ascontiguousarray(array))


def _number(expression: Any) -> float:
    return float(expression.value)
