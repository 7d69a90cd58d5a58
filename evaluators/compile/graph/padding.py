"""Padding operators made the padding of the convolution behind them."""

from __future__ import annotations

from typing import Any

from tvm import relax
from tvm.relax.dpl import is_op, rewrite_call, wildcard


def fold_padding(function: relax.Function) -> relax.Function:
    """Zeros that are put around an image before a convolution are the convolution's own padding.

    Networks ported from frameworks whose "same" padding is uneven pad with an operator of its own. Padding by
    nothing goes away wherever it stands.
    """
    image, weight = wildcard(), wildcard()
    pad = is_op("relax.nn.pad")(image)
    convolution = is_op("relax.nn.conv2d")(pad, weight)

    def into_convolution(found: relax.Expr, matches: Any) -> relax.Expr:
        padding, call = matches[pad], matches[convolution]
        given = [int(width) for width in call.attrs.padding]
        if call.attrs.data_layout != "NCHW" or len(given) != 4 or not _is_zeros_around(padding.attrs):
            return found
        top, bottom, left, right = _widths(padding.attrs)[4:]
        added = [before + more for before, more in zip(given, (top, left, bottom, right), strict=True)]
        attrs = call.attrs
        return relax.op.nn.conv2d(
            matches[image],
            matches[weight],
            strides=attrs.strides,
            padding=added,
            dilation=attrs.dilation,
            groups=int(attrs.groups),
            out_dtype=attrs.out_dtype or None,
        )

    def away(found: relax.Expr, matches: Any) -> relax.Expr:
        data = matches[image]
        return found if any(_widths(matches[pad].attrs)) else data

    return rewrite_call(pad, away, rewrite_call(convolution, into_convolution, function))


def _widths(attrs: Any) -> list[int]:
    """Before and after each axis in turn."""
    return [int(width) for width in attrs.pad_width]


def _is_zeros_around(attrs: Any) -> bool:
    widths = _widths(attrs)
    zeros = attrs.pad_mode == "constant" and float(attrs.pad_value) == 0
    return zeros and len(widths) == 8 and not any(widths[:4]) and min(widths) >= 0
