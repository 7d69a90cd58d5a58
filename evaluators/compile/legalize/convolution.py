"""``relax.nn.conv2d`` and ``conv1d``, channels last, with constant weights."""

from __future__ import annotations

from tvm import relax, te
from tvm.ir import GenericConst

from evaluators.compile.blocking import Layer, convolution_options
from evaluators.compile.choices import KernelKey
from evaluators.compile.kernels.convolution import convolution
from evaluators.compile.kernels.depthwise import Depthwise, depthwise_stage
from evaluators.compile.kernels.image import Image, Window
from evaluators.compile.legalize.context import Array, Context, pack, whole
from evaluators.compile.legalize.depthwise_options import depthwise_options

_WEIGHTS = {"NHWC": "HWIO", "NWC": "WIO"}
_LAYOUTS = {"NHWC": "NHWC", "NCHW": "NCHW", "NWC": "NHC"}
"""How kernels call the layout of an image; along a line it is an image of one column, so that chunks of its rows
stay in the cache."""

FUSIBLE = {"op_pattern": 4}
"""TVM's ``OpPatternKind`` of a convolution: element-wise work is fused behind it."""


def dense_convolution(builder: relax.BlockBuilder, call: relax.Call, context: Context) -> relax.Expr | None:
    """A convolution of any number of groups."""
    if not _ours(call):
        return None
    values, layer = _weights(call), _layer(call)
    choice = context.choose(_key("convolution", layer), convolution_options(layer, context.profile))
    packed = pack(values, choice["vectors"] * choice["lanes"])
    channels, layout = values.shape[-1], _LAYOUTS[str(call.attrs.data_layout)]

    def build(data: te.Tensor, weights: te.Tensor) -> te.Tensor:
        return convolution(Image(data, layout), weights, layer.window, channels, layer.groups, choice)

    return builder.call_te(build, call.args[0], relax.const(packed), primfunc_name_hint="convolution")


def depthwise_convolution(builder: relax.BlockBuilder, call: relax.Call, context: Context) -> relax.Expr | None:
    """A convolution of as many groups as channels on both sides."""
    if not _ours(call) or call.attrs.data_layout == "NCHW":
        return None
    layer = _layer(call)
    if layer.groups == 1 or not layer.inputs == layer.outputs == 1:
        return None
    line = call.attrs.data_layout == "NWC"
    along = layer.turned if line else layer
    choice = context.choose(_key("depthwise", layer), depthwise_options(along, context.profile))
    kernel = along.kernel
    sizes = Depthwise(along.batch, along.image, along.groups, kernel, along.window, line, choice)
    packed = pack(_weights(call).reshape(*kernel, along.groups), choice["lanes"])

    def build(data: te.Tensor, weights: te.Tensor) -> te.Tensor:
        return depthwise_stage(data, weights, sizes)

    return builder.call_te(
        build, call.args[0], relax.const(packed), primfunc_name_hint="depthwise", primfunc_attrs=FUSIBLE
    )


def _ours(call: relax.Call) -> bool:
    attrs = call.attrs
    channels_last = attrs.kernel_layout == _WEIGHTS.get(str(attrs.out_layout))
    return channels_last and attrs.data_layout in _LAYOUTS and isinstance(call.args[1], GenericConst)


def _weights(call: relax.Call) -> Array:
    """(KH, KW, I, O), one column for a convolution along a line."""
    values: Array = call.args[1].value.numpy()
    return values if values.ndim == 4 else values[:, None]


def _layer(call: relax.Call) -> Layer:
    attrs, layout = call.attrs, _LAYOUTS[str(call.attrs.data_layout)]
    extents = dict(zip(layout, whole(call.args[0].ty.shape), strict=True))
    image = extents["H"], extents.get("W", 1)
    height, width, inputs, outputs = _weights(call).shape
    groups, window = int(attrs.groups), _window(call)
    rows, columns = window.output(image, (height, width))
    return Layer(extents["N"], rows, columns, inputs, outputs // groups, groups, image, (height, width), window)


def _window(call: relax.Call) -> Window:
    attrs = call.attrs
    strides, padding, dilation = whole(attrs.strides), whole(attrs.padding), whole(attrs.dilation)
    if len(strides) == 1:
        return Window((strides[0], 1), (padding[0], 0, padding[1], 0), (dilation[0], 1))
    top, left, bottom, right = padding
    return Window((strides[0], strides[1]), (top, left, bottom, right), (dilation[0], dilation[1]))


def _key(kind: str, layer: Layer) -> KernelKey:
    (height, width), (kernel_height, kernel_width), window = layer.image, layer.kernel, layer.window
    facts = {
        "n": layer.batch,
        "h": height,
        "w": width,
        "i": layer.inputs,
        "o": layer.outputs,
        "g": layer.groups,
        "kh": kernel_height,
        "kw": kernel_width,
        "sy": window.strides[0],
        "sx": window.strides[1],
        "dy": window.dilation[0],
        "dx": window.dilation[1],
        **{f"p{side}": pad for side, pad in zip("tlbr", window.padding, strict=True)},
    }
    return KernelKey(kind, tuple(facts.items()))
