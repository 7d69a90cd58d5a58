"""3x3 convolutions of stride 1 with constant weights as Winograd convolutions, where the model says they win."""

from __future__ import annotations

import numpy as np
from tvm import relax, te
from tvm.ir import GenericConst

from evaluators.compile.choices import Choice, KernelKey
from evaluators.compile.kernels.cook_toom import TAPS, minimal_filter
from evaluators.compile.kernels.winograd import winograd_stage
from evaluators.compile.kernels.winograd_layout import Layout
from evaluators.compile.legalize.context import Array, Context, whole
from evaluators.compile.legalize.winograd_model import DIRECT, Sizes, options


def winograd_convolution(builder: relax.BlockBuilder, call: relax.Call, context: Context) -> relax.Expr | None:
    """A convolution that Winograd's algorithm computes faster than the direct kernel."""
    if not _fits(call):
        return None
    batch, height, width, inputs = whole(call.args[0].ty.shape)
    _, out_height, out_width, channels = whole(call.ty.shape)
    top, left, *_ = whole(call.attrs.padding)
    sizes = Sizes(batch, inputs, channels, out_height, out_width)
    facts = {"n": batch, "h": height, "w": width, "i": inputs, "o": channels, "pt": top, "pl": left}
    key = KernelKey("winograd", (*facts.items(), ("oh", out_height), ("ow", out_width)))
    choice = context.choose(key, options(sizes, context.profile))
    if choice == DIRECT:
        return None
    layout = Layout(
        batch, height, width, inputs, channels, top, left, out_height, out_width, choice, parallel=False
    )
    packed = transformed(call.args[1].value.numpy(), choice)

    def build(image: te.Tensor, weights: te.Tensor) -> te.Tensor:
        return winograd_stage(image, weights, layout)

    fusible = {"op_pattern": _OUT_ELEMENT_WISE_FUSIBLE}
    return builder.call_te(
        build, call.args[0], relax.const(packed), primfunc_name_hint="winograd", primfunc_attrs=fusible
    )


_OUT_ELEMENT_WISE_FUSIBLE = 4
"""TVM's ``OpPatternKind`` of a convolution: element-wise work is fused behind it."""


def transformed(weight: Array, choice: Choice) -> Array:
    """Weights (3, 3, I, O) as G g G^T, computed in double precision, packed (n, O', n, I, T)."""
    matrix = np.array(minimal_filter(choice["m"]).weights)
    *_, inputs, channels = weight.shape
    n, tile = len(matrix), choice["vectors"] * choice["lanes"]
    rows = matrix @ weight.astype(np.float64).reshape(TAPS, -1)
    spectrum = matrix @ rows.reshape(n, TAPS, -1)
    missing = -channels % (tile * choice["groups"])
    full = np.pad(spectrum.astype(np.float32).reshape(n, n, inputs, channels), [(0, 0)] * 3 + [(0, missing)])
    return np.ascontiguousarray(full.reshape(n, n, inputs, -1, tile).transpose(0, 3, 1, 2, 4))


def _fits(call: relax.Call) -> bool:
    attrs, weight = call.attrs, call.args[1]
    layouts = attrs.data_layout == attrs.out_layout == "NHWC" and attrs.kernel_layout == "HWIO"
    plain = whole(attrs.strides) == whole(attrs.dilation) == (1, 1) and int(attrs.groups) == 1
    return layouts and plain and isinstance(weight, GenericConst) and whole(weight.ty.shape)[:2] == (TAPS, TAPS)
