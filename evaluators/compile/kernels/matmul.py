"""Products of two activations."""

from __future__ import annotations

from tvm import te, tirx

from evaluators.compile.choices import Choice, written
from evaluators.compile.kernels.image import shape_of

NAME = "activation_product"


def matmul(left: te.Tensor, right: te.Tensor, choice: Choice) -> te.Tensor:
    """Product (..., M, K) with (..., K, N) to (..., M, N); the axes before are broadcast as numpy does."""
    *left_batch, rows, inner = shape_of(left)
    *right_batch, _, columns = shape_of(right)
    rank = max(len(left_batch), len(right_batch))
    wide = [[1] * (rank - len(batch)) + batch for batch in (left_batch, right_batch)]
    k = te.reduce_axis((0, inner), "k")

    def product(*at: tirx.PrimExpr) -> tirx.PrimExpr:
        *batch, m, n = at

        def of(own: list[int]) -> list[tirx.PrimExpr]:
            skipped = rank - len(own)
            return [index if extent > 1 else 0 for index, extent in zip(batch[skipped:], own, strict=True)]

        return te.sum(left[(*of(left_batch), m, k)] * right[(*of(right_batch), k, n)], axis=k)

    batch = [max(pair) for pair in zip(*wide, strict=True)]
    return te.compute((*batch, rows, columns), product, name=NAME, attrs=written(choice))
