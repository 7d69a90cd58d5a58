"""The graph as kernels for a GPU: most are TVM's own computations, element-wise work fused behind them."""

from __future__ import annotations

import math

import tvm
from tvm import relax, te, tirx, topi

from evaluators.compile.choices import first
from evaluators.compile.cuda.attention import attention
from evaluators.compile.cuda.half import to_half
from evaluators.compile.legalize.context import Context, whole
from evaluators.compile.legalize.gate import gated
from evaluators.compile.legalize.kernels import first_of, legalized
from hw_profiles.profile import Profile


def whole_average(builder: relax.BlockBuilder, call: relax.Call, context: Context) -> relax.Expr | None:
    """An average over a window that holds the whole image (and perhaps far more), over the image alone."""
    attributes = call.attrs
    shapes = [whole(tensor.ty.shape) for tensor in (call, call.args[0])]
    if str(attributes.layout) != "NHWC" or any(map(int, attributes.padding)) or shapes[0][1:3] != (1, 1):
        return None
    if any(int(size) < extent for size, extent in zip(attributes.pool_size, shapes[1][1:3], strict=True)):
        return None

    def build(x: te.Tensor) -> te.Tensor:
        count = tirx.const(1 / math.prod(shapes[1][1:3]), "float32")
        total = topi.sum(topi.cast(x, "float32"), axis=[1, 2], keepdims=True)
        return topi.cast(topi.multiply(total, count), str(call.ty.dtype))

    return builder.call_te(build, call.args[0], primfunc_name_hint="whole_average")


_LEGALIZERS = {
    "relax.multiply": gated,
    "relax.nn.attention": attention,
    "relax.nn.attention_bias": attention,
    "relax.nn.avg_pool2d": whole_average,
}


def make_gpu_kernels(module: tvm.IRModule, profile: Profile) -> tvm.IRModule:
    """The graph, prepared and with images channels last, as calls of unscheduled kernels.

    In float16 where the profile's GPU is faster in it.
    """
    module = tvm.IRModule(module.functions, attrs=module.attrs)
    module["main"] = _ImagesFirst().visit_expr(module["main"])
    module = relax.transform.Normalize()(module)
    if profile.in_half:
        module = to_half(module)
    context = Context(profile, first)
    return legalized(module, {name: first_of((found,), context) for name, found in _LEGALIZERS.items()})


@relax.expr_functor.mutator
class _ImagesFirst(relax.PyExprMutator):
    """Convolutions that read the network's input channels first read it channels last, behind a permutation."""

    def visit_call_(self, call: relax.Call) -> relax.Expr:
        call = super().visit_call_(call)
        if getattr(call.op, "name", "") != "relax.nn.conv2d" or call.attrs.data_layout != "NCHW":
            return call
        attributes = call.attrs
        if attributes.out_layout != "NHWC":
            return call
        images = self.builder_.emit(relax.op.permute_dims(call.args[0], [0, 2, 3, 1]))
        return relax.op.nn.conv2d(
            images,
            call.args[1],
            strides=attributes.strides,
            padding=attributes.padding,
            dilation=attributes.dilation,
            groups=attributes.groups,
            data_layout="NHWC",
            kernel_layout=attributes.kernel_layout,
            out_dtype=attributes.out_dtype,
        )
