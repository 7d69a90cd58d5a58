"""Operators of torch on images that TVM's importer has none for or gets wrong."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, fx
from torch.nn import functional
from tvm import relax

from evaluators.compile.torch_arguments import arguments


def _resampled(mode: str, antialias: bool = False) -> Callable[[fx.Node, Any], relax.Var]:
    """A resize that is the same linear map along every line of an axis, as products with those maps."""

    def convert(node: fx.Node, importer: Any) -> relax.Var:
        data, emit = importer.retrieve_args(node)[0], importer.block_builder.emit
        source, target = tuple(map(int, data.ty.shape)), tuple(node.meta["val"].shape)
        options = _options(node, mode, antialias)
        for axis in range(2, len(target)):
            order = [*(place for place in range(len(target)) if place != axis), axis]
            line_map = relax.const(_line_map(axis, source, target, options).numpy(), "float32")
            product = emit(relax.op.matmul(emit(relax.op.permute_dims(data, order)), line_map))
            data = emit(relax.op.permute_dims(product, sorted(range(len(order)), key=lambda place: order[place])))
        return data

    return convert


def _options(node: fx.Node, mode: str, antialias: bool) -> dict[str, Any]:
    """What ``functional.interpolate`` is told beside the sizes."""
    operator: Any = node.target
    names = [argument.name for argument in operator._schema.arguments]
    given = {**dict(zip(names, node.args, strict=False)), **node.kwargs}
    corners = {"align_corners": given["align_corners"]} if "align_corners" in given else {}
    return {"mode": mode, "scale_factor": given.get("scale_factors"), "antialias": antialias, **corners}


def _line_map(axis: int, source: tuple[int, ...], target: tuple[int, ...], options: Mapping[str, Any]) -> Tensor:
    """(old, new) elements of a line along an axis: what torch gives for an identity matrix."""
    outer, factors = [1] * (len(source) - 3), options["scale_factor"]
    line = torch.eye(source[axis]).reshape(source[axis], 1, *outer, source[axis])
    if factors is None:
        answer = functional.interpolate(line, [*outer, target[axis]], **options)
    else:
        along = [*(float(one) for one in outer), factors[axis - 2]]
        answer = functional.interpolate(line, **{**options, "scale_factor": along})
    return answer.reshape(source[axis], target[axis])


def _sampled_by_grid(node: fx.Node, importer: Any) -> relax.Var:
    """``aten.grid_sampler_2d``; TVM wants the grid's coordinates first."""
    data, grid, method, padding, corners = importer.retrieve_args(node)
    emit = importer.block_builder.emit
    if method == 1:
        raise ValueError("sampling the nearest pixel is not supported")
    return emit(
        relax.op.image.grid_sample(
            data,
            emit(relax.op.permute_dims(grid, [0, 3, 1, 2])),
            method=("bilinear", "nearest", "bicubic")[method],
            layout="NCHW",
            padding_mode=("zeros", "border", "reflection")[padding],
            align_corners=corners,
        )
    )


def _greatest_of_parts(node: fx.Node, importer: Any) -> relax.Var:
    """``aten.adaptive_max_pool2d`` without the places: the greatest of each part of the image."""
    data, sizes = importer.retrieve_args(node)
    emit, first = importer.block_builder.emit, len(data.ty.shape) - 2
    rows, columns = (
        [(at * extent // count, -(-(at + 1) * extent // count)) for at in range(count)]
        for extent, count in zip([int(extent) for extent in data.ty.shape][first:], sizes, strict=True)
    )
    parts = []
    for (top, bottom), (left, right) in itertools.product(rows, columns):
        part = emit(relax.op.strided_slice(data, [first, first + 1], [top, left], [bottom, right]))
        parts.append(emit(relax.op.max(part, [first, first + 1])))
    joined = emit(
        relax.op.reshape(emit(relax.op.stack(parts, first)), [int(n) for n in node.meta["val"][0].shape])
    )
    return _without_places(node, joined)


def _greatest_of_windows(node: fx.Node, importer: Any) -> relax.Var:
    """``aten.max_pool2d_with_indices`` without the places."""
    given = arguments(node, importer)
    size = given["kernel_size"]
    pooled = relax.op.nn.max_pool2d(
        given["self"], size, given["stride"] or size, given["padding"], given["dilation"], given["ceil_mode"]
    )
    return _without_places(node, importer.block_builder.emit(pooled))


def _without_places(node: fx.Node, pooled: relax.Expr) -> relax.Expr:
    """The first result of a node whose second, where each maximum was, nobody reads."""
    if any(user.args[1] != 0 for user in node.users):
        raise ValueError("where the maxima of a pooling are is not supported")
    return relax.Tuple([pooled])


CONVERTERS: Mapping[str, Callable[[fx.Node, Any], relax.Var]] = {
    "upsample_nearest3d.vec": _resampled("nearest"),
    "upsample_trilinear3d.vec": _resampled("trilinear"),
    "_upsample_bilinear2d_aa.vec": _resampled("bilinear", antialias=True),
    "_upsample_bicubic2d_aa.vec": _resampled("bicubic", antialias=True),
    "grid_sampler_2d.default": _sampled_by_grid,
    "adaptive_max_pool2d.default": _greatest_of_parts,
    "max_pool2d_with_indices.default": _greatest_of_windows,
}
"""Operators that torch would otherwise decompose are named in ``export.py``."""
