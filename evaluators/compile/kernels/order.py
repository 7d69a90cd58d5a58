"""The order of the elements along an axis: a stable merge sort (Knuth, The Art of Computer Programming 3, 5.2.4).

At each level every element finds its place in the merged pair of runs by itself: its place in its own run, and how
many of the other run come before it, by bisection.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tvm import te, tirx
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T

from evaluators.compile.kernels.image import shape_of

INDEX = "int32"
Before = Callable[[Any, Any], Any]
"""Whether the element at one place of the line comes before that at another."""
Places = Callable[[Any], tuple[Any, Any]]
"""The buffer and the index in it that keep the n-th element's place."""


def order(data: te.Tensor, axis: int, descending: bool) -> te.Tensor:
    """Where along ``axis`` the first, second, ... element of each line stands, as int32; NaN is the greatest."""
    shape = shape_of(data)
    length, inner = shape[axis], math.prod(shape[axis + 1 :])
    if length == 1:
        return te.compute(shape, lambda *_: tirx.const(0, INDEX), "order")

    def write(source: Any, target: Any) -> tirx.Stmt:
        with IRBuilder() as builder:
            values, answer = T.buffer_proxy(source), T.buffer_proxy(target)
            with T.serial(0, math.prod(shape) // length) as line:
                spare = T.buffer_proxy(T.alloc_buffer((length,), INDEX))
                counts = tuple(T.buffer_proxy(T.alloc_buffer((1,), INDEX, scope="local")) for _ in range(2))
                first = line // inner * (length * inner) + line % inner
                before = _comparison(lambda at: values[first + at * inner], descending)
                _sort(length, before, (lambda at: (answer, first + at * inner), lambda at: (spare, at)), counts)
            return builder.get()

    target = tirx.decl_buffer(shape, INDEX, "order")
    return te.extern(
        [shape], [data], lambda ins, outs: write(ins[0], outs[0]), dtype=INDEX, out_buffers=[target], name="order"
    )


def _comparison(value: Callable[[Any], Any], descending: bool) -> Before:
    def before(one: Any, other: Any) -> Any:
        left, right = value(other if descending else one), value(one if descending else other)
        if "float" not in str(left.ty.dtype):
            return left < right
        return tirx.any(left < right, tirx.all(tirx.isnan(right), tirx.Not(tirx.isnan(left))))

    return before


def _sort(length: int, before: Before, kept: tuple[Places, Places], counts: tuple[Any, Any]) -> None:
    """Merge runs of 1, 2, 4, ... elements between the two buffers so that the last merge is into the first."""
    levels = (length - 1).bit_length()
    with T.serial(0, length) as at:
        buffer, index = kept[levels % 2](at)
        buffer[index] = at
    for level in range(levels):
        source, target = kept[(levels - level) % 2], kept[(levels - level - 1) % 2]
        with T.serial(0, length) as at:
            _merge(at, 1 << level, length, before, (source, target), counts)


def _merge(at: Any, run: int, length: int, before: Before, kept: tuple[Places, Places], counts: Any) -> None:
    """Put one element of a run behind those of the neighbouring run that come before it."""
    low, high = counts
    source, target = kept

    def place(where: Any) -> Any:
        buffer, index = source(where)
        return buffer[index]

    pair, is_left = at // (2 * run) * (2 * run), at % (2 * run) < run
    start = tirx.min(tirx.Select(is_left, pair + run, pair), length)
    end = tirx.min(start + run, length)
    low[0], high[0] = start, end
    with T.While(low[0] < high[0]):
        middle = (low[0] + high[0]) // 2
        other, mine = place(middle), place(at)
        with T.If(tirx.Select(is_left, before(other, mine), tirx.Not(before(mine, other)))):
            with T.Then():
                low[0] = middle + 1
            with T.Else():
                high[0] = middle
    buffer, index = target(tirx.Select(is_left, at, at - run) + low[0] - start)
    buffer[index] = place(at)
