"""Products and convolutions on tensor cores: implicit GEMM, as in Chetlur et al., "cuDNN" (2014).

Any sum that reads two tensors is brought to C[s, i, j] += A[s, i, k] * B[s, j, k]; of a convolution i runs over
the output's pixels, j over its channels, and k over window and input channels. A tile of A and one of B are
gathered into shared memory (the padding of the image and of the tile is made there), warps multiply fragments of
16 x 16 with sums in float32, and what follows the sum is computed as its tile is stored. Long sums of few outputs
are cut into slices for more blocks of threads, and a second kernel adds those up ("split-K").
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tvm.s_tir import SBlock, Schedule
from tvm.s_tir.dlight.gpu.matmul import get_index_map
from tvm.tirx import IndexMap, PrimFunc

from evaluators.compile.cuda.fragments import FRAGMENT, SHARED, Intrinsics, wmma
from evaluators.compile.cuda.gemm_tiles import WARP, Tile, tile_of
from evaluators.compile.cuda.stages import (
    give_threads_outputs,
    inline_consumers,
    inline_producers,
    last_consumer,
    only_reduction,
)
from evaluators.compile.rules.kernel import REDUCTION, open_kernel
from hw_profiles.gpu import Gpu

_FEWEST = FRAGMENT
"""Rows, columns and terms below which most of a fragment would be padding."""
_WIDEST = 8
"""Values of float16 in the widest load, 16 bytes."""
FIRST_ARCH = 70
"""Volta, the first with tensor cores."""


def apply(kernel: PrimFunc, gpu: Gpu) -> PrimFunc | None:
    """The kernel on tensor cores; None unless it is one product in float16 that is large enough for fragments."""
    if int(gpu.arch.removeprefix("sm_")) < FIRST_ARCH:
        return None
    return schedule_product(kernel, gpu, wmma())


def schedule_product(
    kernel: PrimFunc, gpu: Gpu, intrinsics: Intrinsics, tile: Tile | None = None
) -> PrimFunc | None:
    """As ``apply``, with other intrinsics of the same form, or another tile than the model's."""
    schedule, blocks = open_kernel(kernel)
    main = only_reduction(blocks)
    if main is None or not _is_half_product(schedule, main.handle):
        return None
    sides = _Sides.of(schedule.get(main.handle))
    if not _as_product(schedule, main.handle, sides.terms_first):
        return None
    batch, rows, columns, terms = (int(schedule.get(loop).extent) for loop in schedule.get_loops(main.handle))
    if min(rows, columns, terms) < _FEWEST:
        return None
    tile = tile or tile_of(batch, rows, columns, terms, gpu)
    schedule.pad_einsum(main.handle, [1, tile.rows, tile.columns, tile.terms * tile.slices])
    product = _sliced(schedule, main.handle, tile.slices) if tile.slices > 1 else main.handle
    _write_tiles(schedule, product, tile, sides, intrinsics)
    if product is not main.handle:
        give_threads_outputs(schedule, main.handle, last_consumer(schedule, main.handle), 3)
    return schedule.mod["main"]


@dataclass(frozen=True)
class _Sides:
    """How many neighbouring values one load may take of A (terms) and of B (columns, if its terms come first)."""

    left: int
    right: int
    terms_first: bool

    @classmethod
    def of(cls, block: SBlock) -> _Sides:
        """By the innermost index of what the sum reads."""
        kinds = {axis.var: int(axis.iter_type) for axis in block.iter_vars}
        left, right = (read.region[-1].min for read in block.reads)
        extents = [math.gcd(_WIDEST, int(read.source.shape[-1])) for read in block.reads]
        terms_first = kinds.get(right) != REDUCTION
        return cls(
            extents[0] if kinds.get(left) == REDUCTION else 1, extents[1] if right in kinds else 1, terms_first
        )


def _is_half_product(schedule: Schedule, block: Any) -> bool:
    stage = schedule.get(block)
    reads = [str(region.source.dtype) for region in stage.reads]
    return reads == ["float16", "float16"] and str(stage.writes[0].source.dtype) == "float32"


def _as_product(schedule: Schedule, block: Any, terms_first: bool) -> bool:
    """Bring the sum to C[s, i, j] += A[s, i, k] * B[s, j, k], or B[s, k, j]; False when it is none."""
    if not get_index_map(schedule.get(block)):
        return False
    sides = [schedule.reindex(block, side) for side in (("read", 0), ("read", 1), ("write", 0))]
    maps = get_index_map(schedule.get(block))
    if not maps:
        return False
    product, left, right, result = maps
    if terms_first:
        s, j, k = right.final_indices
        right = IndexMap(right.initial_indices, [s, k, j], None)
    places = (("write", 0), ("write", 0), ("read", 0))
    for side, place, index_map in zip(sides, places, (left, right, result), strict=True):
        schedule.transform_layout(side, place, index_map)
    schedule.transform_block_layout(block, product)
    return True


def _sliced(schedule: Schedule, block: Any, slices: int) -> Any:
    """The sum in slices of its terms, which other blocks of threads compute; ``block`` adds them up."""
    k, _ = schedule.split(schedule.get_loops(block)[-1], [slices, None])
    partial = schedule.rfactor(k, 0)
    batch, i, j, k, terms = schedule.get_loops(partial)
    schedule.reorder(k, batch, i, j, terms)
    schedule.fuse(k, batch)
    return partial


def _write_tiles(schedule: Schedule, block: Any, tile: Tile, sides: _Sides, intrinsics: Intrinsics) -> None:
    """Blocks of threads, warps and fragments."""
    batch, i, j, k = schedule.get_loops(block)
    i, in_i = schedule.split(i, [None, FRAGMENT])
    j, in_j = schedule.split(j, [None, FRAGMENT])
    k, in_k = schedule.split(k, [None, FRAGMENT])
    schedule.reorder(i, j, k, in_i, in_j, in_k)
    fragment = schedule.blockize(in_i)
    i0, i1, i2 = schedule.split(i, [None, tile.warps_i, tile.fragments_i])
    j0, j1, j2 = schedule.split(j, [None, tile.warps_j, tile.fragments_j])
    k0, k1 = schedule.split(k, [None, tile.fragments_k])
    schedule.reorder(i0, j0, i1, j1, k0, k1, i2, j2)
    schedule.bind(batch, "blockIdx.z")
    schedule.bind(schedule.fuse(i0, j0), "blockIdx.x")
    warp = schedule.fuse(i1, j1)
    schedule.bind(warp, "threadIdx.y")
    threads = tile.warps * WARP
    gathered = [
        _gather(schedule, fragment, 0, k0, tile.warps, math.gcd(sides.left, tile.rows * tile.terms // threads)),
        _gather(
            schedule, fragment, 1, k0, tile.warps, math.gcd(sides.right, tile.columns * tile.terms // threads)
        ),
    ]
    loads = [schedule.cache_read(fragment, side, f"wmma.matrix_{'ab'[side]}") for side in (0, 1)]
    for load in loads:
        schedule.compute_at(load, k1)
    stored = schedule.cache_write(fragment, 0, SHARED)
    schedule.storage_align(stored, 0, -2, 16, 4)
    sums = schedule.cache_write(fragment, 0, "wmma.accumulator")
    schedule.reverse_compute_at(sums, warp)
    schedule.reverse_compute_at(stored, warp)
    start = schedule.get_child_blocks(schedule.decompose_reduction(fragment, k0))[0]
    right = intrinsics.load_b_terms_first if sides.terms_first else intrinsics.load_b
    for load, name in zip(loads, (intrinsics.load_a, right), strict=True):
        schedule.tensorize(_fragments(schedule, load), name)
    schedule.tensorize(schedule.get_loops(start)[-2], intrinsics.init)
    schedule.tensorize(_fragments(schedule, sums), intrinsics.store)
    compute = intrinsics.compute_terms_first if sides.terms_first else intrinsics.compute
    schedule.tensorize(schedule.get_loops(block)[-3], compute)
    if tile.slices == 1:
        inline_consumers(schedule, stored)
    _store(schedule, stored)
    if tile.ahead:
        _fetch_ahead(schedule, gathered, k0)


def _gather(schedule: Schedule, fragment: Any, side: int, at: Any, warps: int, values: int) -> Any:
    """A tile of A or B brought into shared memory by all threads of the block, rows apart by 16 bytes more."""
    tensor = schedule.cache_read(fragment, side, SHARED)
    schedule.compute_at(tensor, at)
    both = schedule.fuse(*schedule.get_loops(tensor)[-2:])
    _, y, x, vector = schedule.split(both, [None, warps, WARP, values])
    schedule.bind(y, "threadIdx.y")
    schedule.bind(x, "threadIdx.x")
    schedule.vectorize(vector)
    schedule.storage_align(tensor, 0, axis=-2, factor=16, offset=8)
    inline_producers(schedule, tensor)
    return tensor


def _fetch_ahead(schedule: Schedule, gathered: Sequence[Any], steps: Any) -> None:
    """The next step's tiles are read into registers before this step's are multiplied, and stored after."""
    for tensor in gathered:
        schedule.annotate(tensor, "tirx.manifest_shared_memory_local_stage", 1)
        schedule.annotate(tensor, "double_buffer_scope", 0)
    schedule.annotate(steps, "software_pipeline_stage", [0, 0, 0, 0, 1])
    schedule.annotate(steps, "software_pipeline_order", [0, 3, 1, 4, 2])


def _fragments(schedule: Schedule, stage: Any) -> Any:
    """The loop over the rows of one fragment of a stage, the fragments outside and unrolled."""
    i, j = schedule.get_loops(stage)[-2:]
    i0, i1 = schedule.split(i, [None, FRAGMENT])
    j0, j1 = schedule.split(j, [None, FRAGMENT])
    schedule.reorder(i0, j0, i1, j1)
    schedule.unroll(i0)
    schedule.unroll(j0)
    return i1


def _store(schedule: Schedule, stored: Any) -> None:
    """Each warp's sums from shared memory to the output, with what was drawn into that on the way."""
    both = schedule.fuse(*schedule.get_loops(stored)[-2:])
    _, lanes, vector = schedule.split(both, [None, WARP, 4])
    schedule.bind(lanes, "threadIdx.x")
    schedule.vectorize(vector)
