"""What a schedule rule sees of a kernel, and the moves several rules make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import tvm
from tvm.s_tir import Schedule
from tvm.tirx import IterVar, PrimFunc

SPATIAL, REDUCTION = int(IterVar.DataPar), int(IterVar.CommReduce)


@dataclass(frozen=True)
class Block:
    """One stage of a kernel: its handle, name, and the extents of its spatial and reduction axes."""

    handle: object
    name: str
    spatial: tuple[int, ...]
    reduction: tuple[int, ...]


def open_kernel(function: PrimFunc) -> tuple[Schedule, list[Block]]:
    """A fresh schedule of the kernel and its stages in order.

    Raises ``ValueError`` when an extent is not static.
    """
    schedule = Schedule(tvm.IRModule({"main": function}))
    return schedule, list_blocks(schedule)


def list_blocks(schedule: Schedule) -> list[Block]:
    """The stages of a kernel in order."""
    blocks = []
    for handle in schedule.get_child_blocks(schedule.get_sblock("root")):
        block = schedule.get(handle)
        axes = [(int(axis.iter_type), int(axis.dom.extent)) for axis in block.iter_vars]
        spatial = tuple(extent for kind, extent in axes if kind == SPATIAL)
        reduction = tuple(extent for kind, extent in axes if kind == REDUCTION)
        blocks.append(Block(handle, block.name_hint, spatial, reduction))
    return blocks


def find(blocks: Sequence[Block], prefix: str) -> int | None:
    """Index of the only stage of that name, or None."""
    found = [index for index, block in enumerate(blocks) if block.name.startswith(prefix)]
    return found[0] if len(found) == 1 else None


def inline(schedule: Schedule, blocks: Sequence[Block]) -> None:
    """Draw element-wise stages into their consumers."""
    for block in blocks:
        schedule.compute_inline(block.handle)


def vectorize(schedule: Schedule, loop: object, lanes: int) -> None:
    """Turn a loop into vectors of ``lanes``, unrolled where it is longer and divides."""
    extent = int(schedule.get(loop).extent)
    if extent % lanes == 0 and extent > lanes:
        outer, inner = schedule.split(loop, [None, lanes])
        schedule.unroll(outer)
        schedule.vectorize(inner)
    elif extent > 1:
        schedule.vectorize(loop)
