"""What the GPU rules do with the stages around a kernel's sum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm.s_tir import Schedule

from evaluators.compile.rules.kernel import Block


def only_reduction(blocks: Sequence[Block]) -> Block | None:
    """The kernel's sum, where it has exactly one."""
    found = [block for block in blocks if block.reduction]
    return found[0] if len(found) == 1 else None


def inline_between(schedule: Schedule, blocks: Sequence[Block], main: Block) -> Any:
    """Every stage but the sum and the last computed where it is read; the last stage (the sum, it may be)."""
    for block in blocks[:-1]:
        if block is not main:
            schedule.compute_inline(block.handle)
    return blocks[-1].handle


def inline_producers(schedule: Schedule, stage: Any) -> None:
    """What a stage reads, and what that reads, computed in the stage itself."""
    while producers := list(schedule.get_producers(stage)):
        for producer in producers:
            schedule.compute_inline(producer)


def inline_consumers(schedule: Schedule, stage: Any) -> None:
    """What reads a stage computed as it is written; ``ScheduleError`` where something else is between.

    The output's stage comes last: it takes in those before it, and then goes into the stage.
    """
    while True:
        consumers = list(schedule.get_consumers(stage))
        if not consumers:
            return
        inner = [each for each in consumers if schedule.get_consumers(each)]
        if inner:
            schedule.compute_inline(inner[0])
        else:
            schedule.reverse_compute_inline(consumers[0])
