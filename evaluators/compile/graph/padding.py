"""Padding operators made the padding of the convolution behind them."""

from __future__ import annotations

from typing import Any

from tvm import relax

from evaluators.compile.graph.peek import Peek


def padded_convolution(call: relax.Call, peek: Peek) -> relax.Expr | None:
    """Zeros that are put around an image before a convolution are the convolution's own padding.

    Networks ported from frameworks whose "same" padding is uneven pad with an operator of its own.
    """
    attrs = call.attrs
    pad = peek.call(call.args[0], "nn.pad")
    given = [int(width) for width in attrs.padding]
    if pad is None or attrs.data_layout != "NCHW" or len(given) != 4 or not _is_zeros_around(pad.attrs):
        return None
    top, bottom, left, right = _widths(pad.attrs)[4:]
    added = [before + more for before, more in zip(given, (top, left, bottom, right), strict=True)]
    return relax.op.nn.conv2d(
        pad.args[0],
        call.args[1],
        strides=attrs.strides,
        padding=added,
        dilation=attrs.dilation,
        groups=int(attrs.groups),
        out_dtype=attrs.out_dtype or None,
    )


def no_padding(call: relax.Call, peek: Peek) -> relax.Expr | None:
    """Padding by nothing goes away wherever it stands."""
    return None if any(_widths(call.attrs)) else call.args[0]


def _widths(attrs: Any) -> list[int]:
    """Before and after each axis in turn."""
    return [int(width) for width in attrs.pad_width]


def _is_zeros_around(attrs: Any) -> bool:
    widths = _widths(attrs)
    zeros = attrs.pad_mode == "constant" and float(attrs.pad_value) == 0
    return zeros and len(widths) == 8 and not any(widths[:4]) and min(widths) >= 0
