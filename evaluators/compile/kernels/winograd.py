"""3x3 convolutions of stride 1 by minimal filtering F(m x m, 3 x 3) (Lavin and Gray, 2016), written out.

The image is cut into tiles of m x m outputs, each from n x n inputs, n = m + 2. One job takes a block of tiles
and a group of output channels, small enough for the caches, in steps that each transform one dimension:

1. columns of the block's rows of pixels: B^T d, zeros outside of the image
2. for each of the n rows that gives: the rows' own transform, then n products of (tiles x input channels) with
   (input channels x output channels) in a register tile, then A^T along the row
3. A^T along the columns, what is fused behind the convolution, the store; tiles that reach over the edge are cut

so that no step needs more than n + m vectors at once, and each weight is read once a job, in order. Weights are
(n, O', n, I, T): row, tile of output channels, column, input channel, output channel in the tile.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tvm import s_tir, te, tirx
from tvm.ir import Expr, Range
from tvm.tirx import ForKind, Stmt

from evaluators.compile.choices import OPERATIONS, read, written
from evaluators.compile.kernels.cook_toom import transform_inputs, transform_outputs
from evaluators.compile.kernels.emit import (
    Index,
    bind,
    buffer,
    constant,
    load,
    loop,
    over_channels,
    sequence,
    store,
    when,
    whole,
)
from evaluators.compile.kernels.epilogue import Finish, plain
from evaluators.compile.kernels.winograd_layout import Layout

NAME = "winograd"


def read_layout(block: Any) -> Layout:
    """The layout that the stage of ``winograd_stage`` remembers."""
    batch, height, width, inputs = _shape(block.reads[0].source)
    _, out_height, out_width, channels = _shape(block.writes[0].source)
    top, left = (int(pad) for pad in str(block.annotations["padding"]).split())
    choice = read(block.annotations)
    return Layout(batch, height, width, inputs, channels, top, left, out_height, out_width, choice, parallel=False)


def winograd_stage(data: te.Tensor, weight: te.Tensor, layout: Layout) -> te.Tensor:
    """The kernel as one opaque stage that remembers its layout."""
    source = tirx.decl_buffer(data.shape, data.dtype, "data", layout=None)
    packed = tirx.decl_buffer(weight.shape, weight.dtype, "weight", layout=None)
    full = buffer("full", layout.batch, layout.out_height, layout.out_width, layout.channels)
    body = winograd(layout, source, packed, plain(full))
    notes = {**written(layout.choice), "padding": f"{layout.top} {layout.left}", OPERATIONS: 2 * layout.work}
    block = s_tir.SBlock([], [_all(source), _all(packed)], [_all(full)], NAME, body, annotations=notes)
    return te.extern(
        [full.shape],
        [data, weight],
        lambda ins, outs: s_tir.SBlockRealize([], True, block),
        NAME,
        in_buffers=[source, packed],
        out_buffers=[full],
    )


def _shape(source: Any) -> tuple[int, ...]:
    return tuple(int(extent) for extent in source.shape)


def _all(source: Any) -> Any:
    return tirx.BufferRegion(source, [Range(0, extent) for extent in source.shape])


@dataclass(frozen=True)
class _Job:
    """Where a job stands: image, first row and column of its outputs, first output channel."""

    layout: Layout
    image: Index
    y: Index
    x: Index
    group: Index


def winograd(layout: Layout, data: Any, weight: Any, finish: Finish) -> Stmt:
    """The whole kernel from ``data`` (N, H, W, I) and transformed weights; ``finish`` stores the outputs."""
    down, across = layout.blocks
    places = layout.batch * down * across

    def body(at: Index) -> Stmt:
        place = at % places
        job = _Job(
            layout,
            place // (down * across),
            place // across % down * (layout.choice["rows"] * layout.m),
            place % across * (layout.choice["columns"] * layout.m),
            at // places,
        )
        return _job(job, data, weight, finish)

    kind = ForKind.PARALLEL if layout.parallel else ForKind.SERIAL
    return loop(layout.choice["groups"] * places, body, "job", kind)


def _job(job: _Job, data: Any, weight: Any, finish: Finish) -> Stmt:
    layout = job.layout
    n, m, tiles = layout.n, layout.m, layout.tiles
    columns = buffer("columns", layout.choice["rows"], n, layout.reach, layout.inputs)
    points = buffer("points", n, tiles, layout.inputs)
    products = buffer("products", n, tiles, layout.width_packed)
    sums = buffer("sums", n, m, tiles, layout.group)

    def row(xi: Index) -> Stmt:
        packed = layout.group // layout.width_packed
        return sequence(
            _transform_rows(layout, columns, points, xi),
            loop(
                packed,
                lambda k: sequence(
                    loop(
                        n, lambda nu: _product(layout, points, weight, products, (xi, job.group * packed + k, nu))
                    ),
                    _gather_rows(layout, products, sums, xi, k),
                ),
                name="k",
            ),
        )

    return sequence(
        *(tirx.AllocBuffer(own) for own in (columns, points, products, sums)),
        _transform_columns(job, data, columns),
        loop(n, row, name="xi"),
        _finish(job, sums, finish),
    )


def _transform_columns(job: _Job, data: Any, columns: Any) -> Stmt:
    """B^T along y for every column of pixels that the job reads."""
    layout = job.layout
    lanes, n = layout.lanes, layout.n

    def pixel(strip: Index, column: Index) -> Stmt:
        y, x = job.y + strip * layout.m - layout.top, job.x + column - layout.left

        def transformed(inside: Callable[[Index], Expr | None]) -> Stmt:
            def vector(c: Index, width: int) -> Stmt:
                statements: list[Stmt] = []
                values = []
                for i in range(n):
                    value, condition = load(data, (job.image, y + i, x, c), width), inside(y + i)
                    if condition is not None:
                        value = tirx.if_then_else(condition, value, constant(0, width))
                    values.append(bind(value, width, statements))
                results = transform_inputs(layout.filter.inputs, values, width, statements)
                for xi, result in enumerate(results):
                    statements.append(store(columns, result, (strip, xi, column, c), width))
                return sequence(*statements)

            return over_channels(layout.inputs, lanes, vector)

        def zeros(c: Index, width: int) -> Stmt:
            return sequence(
                *(store(columns, constant(0, width), (strip, xi, column, c), width) for xi in range(n))
            )

        whole_column = transformed(lambda y: None)
        cut_column = transformed(lambda y: tirx.all(y >= 0, y < layout.height))
        rows_inside = tirx.all(y >= 0, y + n <= layout.height)
        return when(
            tirx.all(x >= 0, x < layout.width),
            when(rows_inside, whole_column, cut_column),
            over_channels(layout.inputs, lanes, zeros),
        )

    return loop(
        layout.choice["rows"],
        lambda strip: loop(layout.reach, lambda column: pixel(strip, column), name="x"),
        name="strip",
    )


def _transform_rows(layout: Layout, columns: Any, points: Any, xi: Index) -> Stmt:
    """B^T along x for row ``xi`` of every tile."""

    def tile(strip: Index, across: Index) -> Stmt:
        def vector(c: Index, width: int) -> Stmt:
            statements: list[Stmt] = []
            values = [
                bind(load(columns, (strip, xi, across * layout.m + j, c), width), width, statements)
                for j in range(layout.n)
            ]
            results = transform_inputs(layout.filter.inputs, values, width, statements)
            for nu, result in enumerate(results):
                statements.append(store(points, result, (nu, strip * layout.choice["columns"] + across, c), width))
            return sequence(*statements)

        return over_channels(layout.inputs, layout.lanes, vector)

    return _over_tiles(layout, tile)


def _over_tiles(layout: Layout, body: Callable[[Index, Index], Stmt]) -> Stmt:
    return loop(
        layout.choice["rows"],
        lambda strip: loop(layout.choice["columns"], lambda across: body(strip, across), name="tile"),
        name="strip",
    )


def _product(layout: Layout, points: Any, weight: Any, products: Any, panel: tuple[Index, Index, Index]) -> Stmt:
    """Tiles x input channels times one panel of weights: a register tile of accumulators after the other."""
    height, vectors, lanes = layout.choice["height"], layout.choice["vectors"], layout.lanes
    nu = panel[2]

    def block(at: Index) -> Stmt:
        first = at * height
        if layout.tiles % height:
            first = tirx.min(first, whole(layout.tiles - height))
        accumulators = buffer("accumulators", height, vectors * lanes)
        places = [(r, v * lanes) for r in range(height) for v in range(vectors)]

        def step(c: Index) -> Stmt:
            statements: list[Stmt] = []
            columns = [
                bind(load(weight, (*panel, c, v * lanes), lanes), lanes, statements) for v in range(vectors)
            ]
            for r in range(height):
                row = tirx.Broadcast(load(points, (nu, first + r, c), 1), lanes)
                row = bind(row, lanes, statements)
                for v in range(vectors):
                    place = (r, v * lanes)
                    total = row * columns[v] + load(accumulators, place, lanes)
                    statements.append(store(accumulators, total, place, lanes))
            return sequence(*statements)

        return sequence(
            tirx.AllocBuffer(accumulators),
            *(store(accumulators, constant(0, lanes), place, lanes) for place in places),
            loop(layout.inputs, step, name="c"),
            *(store(products, load(accumulators, (r, v), lanes), (nu, first + r, v), lanes) for r, v in places),
        )

    return loop(-(-layout.tiles // height), block, name="block")


def _gather_rows(layout: Layout, products: Any, sums: Any, xi: Index, k: Index) -> Stmt:
    """A^T along x for row ``xi`` of every tile."""
    lanes = layout.lanes

    def tile(at: Index) -> Stmt:
        def vector(v: Index) -> Stmt:
            statements: list[Stmt] = []
            values = [
                bind(load(products, (nu, at, v * lanes), lanes), lanes, statements) for nu in range(layout.n)
            ]
            results = transform_outputs(layout.filter.outputs, values, lanes, statements)
            for j, result in enumerate(results):
                statements.append(store(sums, result, (xi, j, at, k * layout.width_packed + v * lanes), lanes))
            return sequence(*statements)

        return loop(layout.choice["vectors"], vector, name="v")

    return loop(layout.tiles, tile, name="tile")


def _finish(job: _Job, sums: Any, finish: Finish) -> Stmt:
    """A^T along y and the store of what lies inside of the output."""
    layout = job.layout
    m = layout.m
    down, across = layout.blocks
    rows_fit = down * layout.choice["rows"] * m == layout.out_height
    columns_fit = across * layout.choice["columns"] * m == layout.out_width

    def column(strip: Index, tile: Index, j: Index) -> Stmt:
        y, x = job.y + strip * m, job.x + tile * m + j
        at = strip * layout.choice["columns"] + tile

        def vector(c: Index, width: int) -> Stmt:
            statements: list[Stmt] = []
            values = [bind(load(sums, (xi, j, at, c), width), width, statements) for xi in range(layout.n)]
            results = transform_outputs(layout.filter.outputs, values, width, statements)
            outputs = buffer("outputs", m, width)
            statements.append(tirx.AllocBuffer(outputs))
            statements += [store(outputs, result, (i, 0), width) for i, result in enumerate(results)]
            first = job.group * layout.group + c
            for i in range(m):
                place = (job.image, y + i, x)
                lane = loop(
                    width,
                    lambda v, i=i, place=place: finish(load(outputs, (i, v), 1), (*place, first + v)),  # type: ignore[misc]
                    "lane",
                    ForKind.VECTORIZED,
                )
                statements.append(when(rows_fit or y + i < layout.out_height, lane))
            return sequence(*statements)

        return when(columns_fit or x < layout.out_width, _over_group(job, vector))

    return loop(
        layout.choice["rows"],
        lambda strip: loop(
            layout.choice["columns"],
            lambda tile: loop(m, lambda j: column(strip, tile, j), name="j"),
            name="tile",
        ),
        name="strip",
    )


def _over_group(job: _Job, body: Callable[[Index, int], Stmt]) -> Stmt:
    """``body(first channel in the group, lanes)`` over the group's channels that are not padding."""
    layout, lanes = job.layout, job.layout.lanes
    if layout.group * layout.choice["groups"] == layout.channels:
        return over_channels(layout.group, lanes, body)
    given = layout.channels - job.group * layout.group

    def vector(v: Index) -> Stmt:
        rest = layout.channels % lanes
        c = v * lanes
        narrow = when(given > c, body(c, rest)) if rest else None
        return when(given >= c + lanes, body(c, lanes), narrow)

    return loop(layout.group // lanes, vector, name="c")
