"""``relax.nn.conv2d`` in NHWC/HWIO with constant weights."""

from __future__ import annotations

from tvm import relax, te
from tvm.ir import GenericConst

from evaluators.compile.choices import Choice, KernelKey
from evaluators.compile.kernels.convolution import convolution
from evaluators.compile.kernels.depthwise import depthwise
from evaluators.compile.kernels.image import Window
from evaluators.compile.legalize.context import Array, Context, pack, pad_channels, whole
from evaluators.compile.tiles import lanes_for, tile_options


def dense_convolution(builder: relax.BlockBuilder, call: relax.Call, context: Context) -> relax.Expr | None:
    """A convolution of one group."""
    if not _ours(call) or int(call.attrs.groups) != 1:
        return None
    values: Array = call.args[1].value.numpy()
    channels = values.shape[3]
    _, rows, columns, _ = whole(call.ty.shape)
    profile = context.profile
    tiles = tile_options(rows, columns, channels, profile.vector_bits, profile.vector_registers)
    choice = context.choose(_key("convolution", call), [tile.choice for tile in tiles])
    packed = pack(values, choice["vectors"] * choice["lanes"])
    window = _window(call)

    def build(image: te.Tensor, weights: te.Tensor) -> te.Tensor:
        return convolution(image, weights, window, channels, choice)

    return builder.call_te(build, call.args[0], relax.const(packed), primfunc_name_hint="convolution")


def depthwise_convolution(builder: relax.BlockBuilder, call: relax.Call, context: Context) -> relax.Expr | None:
    """A convolution of as many groups as channels on both sides."""
    if not _ours(call):
        return None
    values: Array = call.args[1].value.numpy()
    channels = values.shape[3]
    if not int(call.attrs.groups) == int(call.args[0].ty.shape[3]) == channels:
        return None
    lanes = lanes_for(channels, context.profile.vector_bits)
    choice: Choice = context.choose(_key("depthwise", call), [{"lanes": lanes}])
    packed = pad_channels(values[:, :, 0], choice["lanes"])
    window = _window(call)

    def build(image: te.Tensor, weights: te.Tensor) -> te.Tensor:
        return depthwise(image, weights, window, channels, choice)

    return builder.call_te(build, call.args[0], relax.const(packed), primfunc_name_hint="depthwise")


def _ours(call: relax.Call) -> bool:
    attrs = call.attrs
    channels_last = attrs.data_layout == attrs.out_layout == "NHWC" and attrs.kernel_layout == "HWIO"
    return channels_last and isinstance(call.args[1], GenericConst)


def _window(call: relax.Call) -> Window:
    attrs = call.attrs
    return Window(whole(attrs.strides), whole(attrs.padding), whole(attrs.dilation))  # type: ignore[arg-type]


def _key(kind: str, call: relax.Call) -> KernelKey:
    window = _window(call)
    batch, height, width, inputs = whole(call.args[0].ty.shape)
    kernel_height, kernel_width, _, channels = whole(call.args[1].ty.shape)
    facts = {
        "n": batch,
        "h": height,
        "w": width,
        "i": inputs,
        "o": channels,
        "kh": kernel_height,
        "kw": kernel_width,
        "sy": window.strides[0],
        "sx": window.strides[1],
        "dy": window.dilation[0],
        "dx": window.dilation[1],
        **{f"p{side}": pad for side, pad in zip("tlbr", window.padding, strict=True)},
    }
    return KernelKey(kind, tuple(facts.items()))
