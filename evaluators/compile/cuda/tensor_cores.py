"""Products and convolutions on tensor cores: implicit GEMM, as in Chetlur et al., "cuDNN" (2014).

Any sum that reads two tensors is brought to C[s, i, j] += A[s, i, k] * B[s, j, k]; of a convolution i runs over
the output's pixels, j over its channels, and k over window and input channels. A tile of A and one of B are
gathered into shared memory (the padding of the image and of the tile is made there), warps multiply fragments of
16 x 16 with sums in float32, and what follows the sum is computed as its tile is stored.
"""

from __future__ import annotations

import math
from typing import Any

from tvm.s_tir import Schedule
from tvm.s_tir.dlight.gpu.matmul import get_index_map
from tvm.tirx import PrimFunc

from evaluators.compile.cuda.fragments import FRAGMENT, SHARED, Intrinsics, wmma
from evaluators.compile.cuda.gemm_tiles import WARP, Tile, tile_of
from evaluators.compile.cuda.stages import inline_consumers, inline_producers, only_reduction
from evaluators.compile.rules.kernel import open_kernel
from hw_profiles.gpu import Gpu

_FEWEST = FRAGMENT
"""Rows, columns and terms below which most of a fragment would be padding."""
FIRST_ARCH = 70
"""Volta, the first with tensor cores."""


def apply(kernel: PrimFunc, gpu: Gpu) -> PrimFunc | None:
    """The kernel on tensor cores; None unless it is one product in float16 that is large enough for fragments."""
    if int(gpu.arch.removeprefix("sm_")) < FIRST_ARCH:
        return None
    return schedule_product(kernel, gpu, wmma())


def schedule_product(kernel: PrimFunc, gpu: Gpu, intrinsics: Intrinsics) -> PrimFunc | None:
    """As ``apply``, with other intrinsics of the same form."""
    schedule, blocks = open_kernel(kernel)
    main = only_reduction(blocks)
    if main is None or not _is_half_product(schedule, main.handle):
        return None
    channels = int(schedule.get(main.handle).reads[0].source.shape[-1])
    if not _as_product(schedule, main.handle):
        return None
    batch, rows, columns, terms = (int(schedule.get(loop).extent) for loop in schedule.get_loops(main.handle))
    if min(rows, columns, terms) < _FEWEST:
        return None
    tile = tile_of(batch, rows, columns, terms, gpu)
    schedule.pad_einsum(main.handle, [1, tile.rows, tile.columns, tile.terms])
    _write_tiles(schedule, main.handle, tile, (math.gcd(tile.vector, channels), 1), intrinsics)
    return schedule.mod["main"]


def _is_half_product(schedule: Schedule, block: Any) -> bool:
    stage = schedule.get(block)
    reads = [str(region.source.dtype) for region in stage.reads]
    return reads == ["float16", "float16"] and str(stage.writes[0].source.dtype) == "float32"


def _as_product(schedule: Schedule, block: Any) -> bool:
    """Bring the sum to C[s, i, j] += A[s, i, k] * B[s, j, k]; False when it is none."""
    if not get_index_map(schedule.get(block)):
        return False
    sides = [schedule.reindex(block, side) for side in (("read", 0), ("read", 1), ("write", 0))]
    maps = get_index_map(schedule.get(block))
    if not maps:
        return False
    product, *each = maps
    for side, place, index_map in zip(sides, (("write", 0), ("write", 0), ("read", 0)), each, strict=True):
        schedule.transform_layout(side, place, index_map)
    schedule.transform_block_layout(block, product)
    return True


def _write_tiles(
    schedule: Schedule, block: Any, tile: Tile, vectors: tuple[int, int], intrinsics: Intrinsics
) -> None:
    """Blocks of threads, warps and fragments; ``vectors`` are values that a load takes of A and of B.

    A's terms of one place in the window lie side by side, B's are rows apart.
    """
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
    for side in (0, 1):
        _gather(schedule, fragment, side, k0, tile.warps, vectors[side])
    loads = [schedule.cache_read(fragment, side, f"wmma.matrix_{'ab'[side]}") for side in (0, 1)]
    for load in loads:
        schedule.compute_at(load, k1)
    stored = schedule.cache_write(fragment, 0, SHARED)
    schedule.storage_align(stored, 0, -2, 16, 4)
    sums = schedule.cache_write(fragment, 0, "wmma.accumulator")
    schedule.reverse_compute_at(sums, warp)
    schedule.reverse_compute_at(stored, warp)
    start = schedule.get_child_blocks(schedule.decompose_reduction(fragment, k0))[0]
    for load, name in zip(loads, (intrinsics.load_a, intrinsics.load_b), strict=True):
        schedule.tensorize(_fragments(schedule, load), name)
    schedule.tensorize(schedule.get_loops(start)[-2], intrinsics.init)
    schedule.tensorize(_fragments(schedule, sums), intrinsics.store)
    schedule.tensorize(schedule.get_loops(block)[-3], intrinsics.compute)
    _store(schedule, stored)


def _gather(schedule: Schedule, fragment: Any, side: int, at: Any, warps: int, values: int) -> None:
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
    """Each warp's sums from shared memory to the output, with what follows the sum on the way."""
    inline_consumers(schedule, stored)
    both = schedule.fuse(*schedule.get_loops(stored)[-2:])
    _, lanes, vector = schedule.split(both, [None, WARP, 4])
    schedule.bind(lanes, "threadIdx.x")
    schedule.vectorize(vector)
