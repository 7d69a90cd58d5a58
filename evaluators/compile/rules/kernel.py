"""What a schedule rule sees of a kernel, and the moves several rules make."""

from __future__ import annotations

import math
from dataclasses import dataclass

import tvm
from tvm.s_tir import Schedule
from tvm.s_tir.stmt import SBlockRealize
from tvm.tirx import For, IterVar, PrimFunc, SeqStmt

from evaluators.compile.choices import Choice, read
from evaluators.compile.kernels.image import PADDING
from hw_profiles.profile import Profile

SPATIAL, REDUCTION = int(IterVar.DataPar), int(IterVar.CommReduce)


LAUNCH_S = 3e-6
"""Seconds that handing a loop to the other cores and waiting for them costs.

Measured on two cores of a virtual machine: 1.0 to 3.5 µs while the pool still spins from the kernel before, by
where the host runs them; 40 µs once the pool sleeps. With 1.5 here, three small networks gained up to 10 %
in one hour and lost up to 18 % in another.
"""


def worth_threads(profile: Profile, vectors: float) -> bool:
    """Whether a loop of so many vector operations saves more by the other cores than waking them costs.

    The loop is taken to run at the processor's peak, so what it saves is at least this.
    """
    seconds = vectors / (2 * profile.clock_ghz * 1e9)
    return profile.threads > 1 and seconds * (1 - 1 / profile.threads) > LAUNCH_S


@dataclass(frozen=True)
class Block:
    """One stage of a kernel: its handle, name, and the extents of its spatial and reduction axes."""

    handle: object
    name: str
    spatial: tuple[int, ...]
    reduction: tuple[int, ...]

    @property
    def work(self) -> int:
        """How often the stage's body runs."""
        return math.prod(self.spatial) * math.prod(self.reduction)


def stage_names(function: PrimFunc) -> list[str]:
    """The names of a kernel's stages in order, read without a schedule (which is dear)."""
    root = function.body
    if not isinstance(root, SBlockRealize):
        return []
    body = root.block.body
    names = []
    for nest in body.seq if isinstance(body, SeqStmt) else [body]:
        while isinstance(nest, For):
            nest = nest.body
        names.append(nest.block.name_hint if isinstance(nest, SBlockRealize) else "")
    return names


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


@dataclass(frozen=True)
class Layer:
    """One of our kernels opened: ``main`` computes, ``last`` stores with all element-wise work drawn in."""

    schedule: Schedule
    main: Block
    last: Block
    padding: Block | None

    @property
    def choice(self) -> Choice:
        """How the kernel was decided to be built."""
        return read(self.schedule.get(self.main.handle).annotations)


def open_layer(function: PrimFunc, name: str) -> Layer | None:
    """The kernel as a layer whose computing stage has that name; None when it is another kernel."""
    if not any(given.startswith(name) for given in stage_names(function)):
        return None
    schedule, blocks = open_kernel(function)
    found = [index for index, block in enumerate(blocks) if block.name.startswith(name)]
    if len(found) != 1 or sum(bool(block.reduction) for block in blocks) != 1:
        return None
    (at,) = found
    padding = next((block for block in blocks[:at] if block.name.startswith(PADDING)), None)
    for block in (*blocks[:at], *blocks[at + 1 : -1]):
        if block is not padding:
            schedule.compute_inline(block.handle)
    return Layer(schedule, blocks[at], blocks[-1], padding)


def keep_in_registers(layer: Layer, lanes: int, unrolled_reductions: int = 0) -> None:
    """Reduction loops around an unrolled, vectorised tile of accumulators; the innermost reductions unrolled."""
    schedule, main = layer.schedule, layer.main
    count = len(main.reduction)
    inner = schedule.get_loops(main.handle)[-(len(main.spatial) + count) :]
    spatial, reduction = inner[:-count], inner[-count:]
    schedule.reorder(*reduction, *spatial)
    vectorize(schedule, spatial[-1], lanes)
    for loop in (*spatial[:-1], *reduction[count - unrolled_reductions :]):
        schedule.unroll(loop)
    schedule.decompose_reduction(main.handle, reduction[0])


def fill_padding(layer: Layer, lanes: int) -> None:
    """Zeros first, then the image without conditions, both by vectors."""
    schedule, padding = layer.schedule, layer.padding
    assert padding is not None
    blocks = [padding.handle]
    first = schedule.get_loops(padding.handle)[-len(padding.spatial)]
    if schedule.can_decompose_padding(padding.handle, first):
        blocks.append(schedule.decompose_padding(padding.handle, first))
    for block in blocks:
        vectorize(schedule, schedule.get_loops(block)[-1], lanes)


def vectorize(schedule: Schedule, loop: object, lanes: int) -> None:
    """Turn a loop into vectors of ``lanes``, unrolled where it is longer and divides."""
    extent = int(schedule.get(loop).extent)
    if extent % lanes == 0 and extent > lanes:
        outer, inner = schedule.split(loop, [None, lanes])
        schedule.unroll(outer)
        schedule.vectorize(inner)
    elif extent > 1:
        schedule.vectorize(loop)
