"""What rules of written kernels do: find what is fused behind the stage, and write it again with that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tvm import s_tir
from tvm.tirx import PrimFunc, Stmt

from evaluators.compile.kernels.epilogue import Finish, fused, plain
from evaluators.compile.rules.kernel import open_kernel, stage_names


@dataclass(frozen=True)
class Written:
    """A written stage, the buffers that it reads, and how its outputs are stored."""

    main: Any
    sources: Sequence[Any]
    finish: Finish


def open_written(function: PrimFunc, name: str) -> Written | None:
    """The written stage with that name and what is fused behind it; None for any other kernel."""
    at = next((at for at, given in enumerate(stage_names(function)) if given.startswith(name)), None)
    if at is None:
        return None
    schedule, blocks = open_kernel(function)
    for block in (*blocks[:at], *blocks[at + 1 : -1]):  # those before are of something added behind
        schedule.compute_inline(block.handle)
    main = schedule.get(blocks[at].handle)
    full = main.writes[0].source
    finish = fused(schedule.get(blocks[-1].handle), full) if at + 1 < len(blocks) else plain(full)
    if finish is None:
        return None
    return Written(main, [region.source for region in main.reads], finish)


def with_body(function: PrimFunc, body: Stmt) -> PrimFunc:
    """The kernel with all its stages replaced."""
    return function.with_body(s_tir.SBlockRealize([], True, s_tir.SBlock([], [], [], "root", body)))
