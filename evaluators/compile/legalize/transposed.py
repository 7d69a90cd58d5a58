"""``relax.nn.conv2d_transpose``, channels last, with constant weights."""

from __future__ import annotations

import math

import numpy as np
from tvm import relax, te
from tvm.ir import GenericConst

from evaluators.compile.choices import Choice, KernelKey
from evaluators.compile.kernels.transposed import transposed
from evaluators.compile.legalize.context import Array, Context, pack, whole
from evaluators.compile.tiles import divisors, lanes_for
from hw_profiles.profile import Profile


def transposed_convolution(builder: relax.BlockBuilder, call: relax.Call, context: Context) -> relax.Expr | None:
    """A transposed convolution of any number of groups."""
    attrs, weight = call.attrs, call.args[1]
    layouts = attrs.data_layout == attrs.out_layout == "NHWC" and attrs.kernel_layout == "HWIO"
    if not layouts or not isinstance(weight, GenericConst):
        return None
    sy, sx = whole(attrs.strides)
    top, left, *_ = whole(attrs.padding)
    shape, groups = whole(call.ty.shape), int(attrs.groups)
    values = _of_groups(_dilated(weight.value.numpy(), whole(attrs.dilation)), groups)
    phases = _phases(values, (sy, sx), (top, left))
    batch, height, width, inputs = whole(call.args[0].ty.shape)
    names = ("n", "h", "w", "i", "o", "g", "oh", "ow", "kh", "kw", "sy", "sx", "pt", "pl")
    facts = (batch, height, width, inputs, shape[3], groups, *shape[1:3], *values.shape[:2], sy, sx, top, left)
    key = KernelKey("transposed", tuple(zip(names, facts, strict=True)))
    choice = context.choose(key, _options(shape, sx, groups, context.profile))
    tile = choice["vectors"] * choice["lanes"]
    packed = np.concatenate([pack(phase, tile) for row in phases for phase in row])

    def build(data: te.Tensor, weights: te.Tensor) -> te.Tensor:
        return transposed(data, weights, (sy, sx), (top, left), shape, groups, choice)

    return builder.call_te(build, call.args[0], relax.const(packed), primfunc_name_hint="transposed")


def _dilated(weight: Array, dilation: tuple[int, ...]) -> Array:
    """(KH, KW, I, O) with zeros between the taps."""
    size = [(taps - 1) * step + 1 for taps, step in zip(weight.shape, dilation, strict=False)]
    full = np.zeros((*size, *weight.shape[2:]), weight.dtype)
    full[:: dilation[0], :: dilation[1]] = weight
    return full


def _of_groups(weight: Array, groups: int) -> Array:
    """(KH, KW, G * I, O) as (KH, KW, I, G * O)."""
    height, width, inputs, outputs = weight.shape
    split = weight.reshape(height, width, groups, inputs // groups, outputs)
    return np.ascontiguousarray(split.swapaxes(2, 3)).reshape(height, width, inputs // groups, -1)


def _phases(weight: Array, strides: tuple[int, int], padding: tuple[int, int]) -> Array:
    """(KH, KW, I, O) as the taps of each phase: (SY, SX, JH, JW, I, O)."""
    for axis, (stride, pad) in enumerate(zip(strides, padding, strict=True)):
        taps = -(-weight.shape[2 * axis] // stride)
        fill = [(0, 0)] * weight.ndim
        fill[2 * axis] = (0, taps * stride - weight.shape[2 * axis])
        full = np.pad(weight, fill)
        phases = [
            full.take(range((phase + pad) % stride, taps * stride, stride), axis=2 * axis)
            for phase in range(stride)
        ]
        weight = np.stack(phases, axis=axis)
    return weight


def _options(shape: tuple[int, ...], phases: int, groups: int, profile: Profile) -> list[Choice]:
    """Tiles of half of the registers that hold all the phases of a row, with chunks of about so many rows.

    With several groups the channels of a tile divide those of a group.
    """
    outputs = shape[3] // groups
    lanes = lanes_for(outputs, profile.vector_bits)
    if groups > 1:
        lanes = math.gcd(lanes, outputs)
    most = -(-outputs // lanes)
    return [
        {
            "rows": 1,
            "columns": phases * max(1, profile.vector_registers // 2 // vectors // phases),
            "vectors": vectors,
            "lanes": lanes,
            "chunk": max(divisors(shape[1], rows)),
            "parts": 1,
        }
        for rows in (16, 8, 4, 32)
        for vectors in (2, 1)
        if vectors <= most and (groups == 1 or most % vectors == 0)
    ]
