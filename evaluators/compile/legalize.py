"""Graph operators to kernels: convolutions and dense layers get ours with packed weights, the rest TVM's own."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import relax, te
from tvm.ir import GenericConst

from evaluators.compile import kernels
from evaluators.compile.tiles import choose_tile, lanes_for, padded
from hw_profiles.profile import Profile

Array = NDArray[np.float32]


def make_kernels(module: tvm.IRModule, profile: Profile) -> tvm.IRModule:
    """Every operator as a kernel, element-wise work fused into its producer.

    Returns a module whose ``main`` calls unscheduled kernels with static shapes.
    """
    passes = [
        relax.transform.LegalizeOps({"relax.nn.conv2d": _Convolution(profile), "relax.matmul": _Dense(profile)}),
        relax.transform.AnnotateTIROpPattern(),
        relax.transform.FoldConstant(),
        relax.transform.FuseOps(),
        relax.transform.FuseTIR(),
        relax.transform.DeadCodeElimination(),
    ]
    return tvm.transform.Sequential(passes)(module)


class _Convolution:
    """``relax.nn.conv2d`` in NHWC/HWIO with constant weights."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile

    def __call__(self, builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr:
        data, weight = call.args
        attrs = call.attrs
        ours = attrs.data_layout == attrs.out_layout == "NHWC" and attrs.kernel_layout == "HWIO"
        if not ours or not isinstance(weight, GenericConst):
            return _default(builder, call)
        window = kernels.Window(_pair(attrs.strides), _pair(attrs.padding), _pair(attrs.dilation))  # type: ignore[arg-type]
        values: Array = weight.value.numpy()
        groups, channels = int(attrs.groups), values.shape[3]
        inputs = int(data.ty.shape[3])
        if groups == 1:
            _, rows, columns, _ = (int(extent) for extent in call.ty.shape)
            tile = choose_tile(rows, columns, channels, self._profile.vector_bits, self._profile.vector_registers)
            packed = pack(values, tile.channels)
            kernel, name = kernels.convolution, "convolution"
        elif groups == inputs == channels:
            lanes = lanes_for(channels, self._profile.vector_bits)
            packed = pad_channels(values[:, :, 0], lanes)
            kernel, name = kernels.depthwise, "depthwise"
        else:
            return _default(builder, call)

        def build(image: te.Tensor, weights: te.Tensor) -> te.Tensor:
            return kernel(image, weights, window, channels)

        return builder.call_te(build, data, relax.const(packed), primfunc_name_hint=name)


class _Dense:
    """``relax.matmul`` of activations with a constant matrix."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile

    def __call__(self, builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr:
        data, weight = call.args
        if not isinstance(weight, GenericConst) or len(weight.ty.shape) != 2 or len(data.ty.shape) < 2:
            return _default(builder, call)
        *outer, channels = (int(extent) for extent in call.ty.shape)
        tile = choose_tile(
            1, math.prod(outer), channels, self._profile.vector_bits, self._profile.vector_registers
        )
        packed = pack(weight.value.numpy(), tile.channels)

        def build(rows: te.Tensor, weights: te.Tensor) -> te.Tensor:
            return kernels.dense(rows, weights, channels)

        return builder.call_te(build, data, relax.const(packed), primfunc_name_hint="dense")


def pack(weight: Array, tile: int) -> Array:
    """Weights (..., I, O) as (ceil(O / tile), ..., I, tile), padded with zeros."""
    full = pad_channels(weight, tile)
    split = full.reshape(*full.shape[:-1], -1, tile)
    return np.ascontiguousarray(np.moveaxis(split, -2, 0))


def pad_channels(weight: Array, multiple: int) -> Array:
    """The last axis filled up with zeros to a multiple."""
    missing = padded(weight.shape[-1], multiple) - weight.shape[-1]
    return np.pad(weight, [(0, 0)] * (weight.ndim - 1) + [(0, missing)])


def _default(builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr:
    return call.op.get_attr("FLegalize")(builder, call)


def _pair(values: Any) -> tuple[int, ...]:
    return tuple(int(value) for value in values)
