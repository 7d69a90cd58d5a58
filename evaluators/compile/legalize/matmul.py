"""``relax.matmul`` of two activations."""

from __future__ import annotations

import math

from tvm import relax, te

from evaluators.compile.choices import KernelKey
from evaluators.compile.kernels import matmul
from evaluators.compile.legalize.context import Context, whole
from evaluators.compile.products import Product, product_options


def activation_product(builder: relax.BlockBuilder, call: relax.Call, context: Context) -> relax.Expr | None:
    """A product of two matrices, or of stacks of them, that are only known when the network runs."""
    left, right = call.args
    if any(str(each.ty.dtype) != "float32" or len(each.ty.shape) < 2 for each in (left, right, call)):
        return None
    *batch, rows, columns = whole(call.ty.shape)
    product = Product(rows, int(left.ty.shape[-1]), columns, math.prod(batch))
    facts = (("b", product.batch), ("m", rows), ("k", product.inner), ("n", columns))
    choice = context.choose(KernelKey("matmul", facts), product_options(product, context.profile))

    def build(first: te.Tensor, second: te.Tensor) -> te.Tensor:
        return matmul.matmul(first, second, choice)

    return builder.call_te(build, left, right, primfunc_name_hint="matmul")
