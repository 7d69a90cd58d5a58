"""``relax.nn.max_pool2d`` and ``avg_pool2d`` of NHWC images."""

from __future__ import annotations

from tvm import relax, te

from evaluators.compile.kernels.image import Window
from evaluators.compile.kernels.pooling import Pooling, pooling_stage
from evaluators.compile.legalize.context import Context, whole
from evaluators.compile.tiles import lanes_for

_OPAQUE = 8
"""TVM's name of kernels that nothing is fused with, not what comes before either."""


def pooled(builder: relax.BlockBuilder, call: relax.Call, context: Context) -> relax.Expr | None:
    """A window's maximum or average at each place; averages of the pixels in the image, or with the padding."""
    attrs, data = call.attrs, call.args[0]
    if (attrs.layout, attrs.out_layout, str(data.ty.dtype)) != ("NHWC", "NHWC", "float32"):
        return None
    batch, height, width, channels = whole(data.ty.shape)
    (kh, kw), (sy, sx), (dy, dx) = (whole(pair) for pair in (attrs.pool_size, attrs.strides, attrs.dilation))
    top, left, bottom, right = whole(attrs.padding)
    _, rows, columns, _ = whole(call.ty.shape)
    layer = Pooling(
        batch,
        (height, width),
        channels,
        (kh, kw),
        Window((sy, sx), (top, left, bottom, right), (dy, dx)),
        (rows, columns),
        call.op.name == "relax.nn.max_pool2d",
        bool(attrs.count_include_pad),
        lanes_for(channels, context.profile.vector_bits),
    )

    def build(image: te.Tensor) -> te.Tensor:
        return pooling_stage(image, layer)

    return builder.call_te(build, data, primfunc_name_hint="pooling", primfunc_attrs={"op_pattern": _OPAQUE})
