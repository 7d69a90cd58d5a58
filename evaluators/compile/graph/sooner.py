"""Pointwise convolutions before the resizing in front of them, where images are smaller; both are linear.

A decoder that resizes feature maps, puts them side by side and mixes their channels (SegFormer, Xie et al. 2021)
computes the same as the sum of resized products, each of a map's own part of the weights. A dense layer before the
resizing is then one with its part of the weights.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import relax
from tvm.ir import Op

from evaluators.compile.graph.access import Array, constant, static_shape, with_attributes
from evaluators.compile.graph.peek import Peek


def mix_channels_sooner(function: relax.Function) -> relax.Function:
    """Write pointwise convolutions of resized images as sums of resized convolutions."""
    bindings = (binding for block in function.body.blocks for binding in block.bindings)
    names = {binding.value.op.name for binding in bindings if _is_operator(binding.value)}
    return _Mixer().visit_expr(function) if "relax.image.resize2d" in names else function


def _is_operator(value: relax.Expr) -> bool:
    return isinstance(value, relax.Call) and isinstance(value.op, Op)


@relax.expr_functor.mutator
class _Mixer(relax.PyExprMutator):
    def visit_call_(self, call: relax.Call) -> relax.Expr:
        call = self.visit_expr_post_order(call)
        peek = Peek(self.lookup_binding)
        convolution = peek.call(call, "nn.conv2d")
        weight = peek.array(call.args[1]) if convolution is not None else None
        if weight is None or not _is_pointwise(call, weight):
            return call
        parts = _parts(call, peek)
        if not any(_grown(part, peek) for part in parts):
            return call
        return self._sum(call, parts, weight, peek)

    def _sum(self, call: relax.Call, parts: list[relax.Expr], weight: Array, peek: Peek) -> relax.Expr:
        emit = self.builder_.emit
        bounds = np.cumsum([static_shape(part)[1] for part in parts])[:-1]
        total = None
        for part, mine in zip(parts, np.split(weight, bounds, axis=1), strict=True):
            resize = _resize(part, peek)
            source = part if resize is None else resize.args[0]
            term = self._product(call, source, mine, peek)
            if resize is not None and _grown(part, peek):
                term = emit(with_attributes(resize, [term, *resize.args[1:]]))
            total = term if total is None else emit(relax.op.add(total, term))
        return total

    def _product(self, call: relax.Call, image: relax.Expr, weight: Array, peek: Peek) -> relax.Expr:
        """The convolution of one image; one matrix with the dense layer before it, where there is one."""
        emit = self.builder_.emit
        dense = _dense(image, peek)
        if dense is None:
            return emit(with_attributes(call, [image, constant(weight)]))
        tokens, matrix, bias = dense
        mixing = weight[:, :, 0, 0].astype(np.float64).T
        both, shift = (np.asarray(values @ mixing, dtype=np.float32) for values in (matrix, bias.reshape(-1)))
        product = emit(relax.op.add(emit(relax.op.matmul(tokens, constant(both))), constant(shift)))
        batch, _, height, width = static_shape(image)
        channels_first = emit(relax.op.permute_dims(product, [0, 2, 1]))
        return emit(relax.op.reshape(channels_first, (batch, len(weight), height, width)))


def _is_pointwise(call: relax.Call, weight: Array) -> bool:
    attrs = call.attrs
    steps = [int(step) for step in (*attrs.strides, *(1 + width for width in attrs.padding))]
    plain = (attrs.data_layout, attrs.kernel_layout, attrs.out_layout) == ("NCHW", "OIHW", "NCHW")
    return plain and weight.shape[2:] == (1, 1) and int(attrs.groups) == 1 and set(steps) == {1}


def _parts(call: relax.Call, peek: Peek) -> list[relax.Expr]:
    """The images side by side of which the convolution's is made; or that one."""
    concat = peek.call(call.args[0], "concat")
    if concat is None or concat.attrs.axis is None or int(concat.attrs.axis) != 1:
        return [call.args[0]]
    tensors = concat.args[0]
    return list(tensors.fields) if isinstance(tensors, relax.Tuple) else [call.args[0]]


def _resize(part: relax.Expr, peek: Peek) -> relax.Call | None:
    """The resizing that makes an image no smaller."""
    call = peek.call(part, "image.resize2d")
    if call is None or call.attrs.layout != "NCHW":
        return None
    before, after = (static_shape(image)[2:] for image in (call.args[0], call))
    return call if all(new >= old for old, new in zip(before, after, strict=True)) else None


def _grown(part: relax.Expr, peek: Peek) -> bool:
    """Whether it has more pixels than before: to the same size, resizing changes nothing."""
    call = _resize(part, peek)
    return call is not None and static_shape(call) != static_shape(call.args[0])


def _dense(image: relax.Expr, peek: Peek) -> tuple[Any, Array, Array] | None:
    """Tokens, matrix and bias of a dense layer whose outputs are the image, where it has no fewer than inputs."""
    flat = peek.call(image, "reshape")
    turned = peek.call(flat.args[0], "permute_dims") if flat is not None else None
    if turned is None or turned.attrs.axes is None or [int(axis) for axis in turned.attrs.axes] != [0, 2, 1]:
        return None
    if static_shape(turned)[:2] != static_shape(image)[:2]:
        return None
    total = peek.call(turned.args[0], "add")
    product = peek.call(total.args[0], "matmul") if total is not None else None
    if total is None or product is None:
        return None
    bias, matrix = peek.array(total.args[1]), _matrix(product.args[1], peek)
    if bias is None or matrix is None or matrix.shape[1] != bias.size or len(matrix) > bias.size:
        return None
    return product.args[0], matrix, bias


def _matrix(expression: relax.Expr, peek: Peek) -> Array | None:
    turned = peek.call(expression, "permute_dims")
    values = peek.array(expression if turned is None else turned.args[0])
    if values is None or values.ndim != 2:
        return None
    return values if turned is None else values.T
