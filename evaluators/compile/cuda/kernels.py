"""The graph as kernels for a GPU: TVM's own computations, element-wise work fused behind them."""

from __future__ import annotations

import tvm
from tvm import relax

from evaluators.compile.cuda.half import to_half
from evaluators.compile.legalize.kernels import legalized


def make_gpu_kernels(module: tvm.IRModule, half: bool) -> tvm.IRModule:
    """The graph, prepared and with images channels last, as calls of unscheduled kernels; in float16 if asked."""
    module = tvm.IRModule(module.functions, attrs=module.attrs)
    module["main"] = _ImagesFirst().visit_expr(module["main"])
    module = relax.transform.Normalize()(module)
    if half:
        module = to_half(module)
    return legalized(module)


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
