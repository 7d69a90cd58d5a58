"""What the GPU rules do with the stages around a kernel's sum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm.s_tir import Schedule

from evaluators.compile.rules.kernel import Block
from evaluators.compile.tiles import divisors

_THREADS = 128
_FEWEST_ACROSS = 8
"""Neighbouring values below which a divisor of their number is not worth its even blocks."""


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


def last_consumer(schedule: Schedule, stage: Any) -> Any:
    """The stage that stores the output, with all between it and ``stage`` drawn in; ``stage`` if it does."""
    while True:
        consumers = list(schedule.get_consumers(stage))
        if not consumers:
            return stage
        if not schedule.get_consumers(consumers[0]):
            return consumers[0]
        schedule.compute_inline(consumers[0])


def give_threads_outputs(schedule: Schedule, main: Any, last: Any, axes: int) -> Any:
    """A thread computes one output of ``last``, with its sum ``main`` in registers (``last`` may be the sum).

    The first ``axes`` loops of the sum are its outputs'. Neighbouring threads take neighbouring values of the last
    axis. Returns the innermost loop of the threads.
    """
    outputs = schedule.get_loops(last)[:axes] if last is main else schedule.get_loops(last)
    across = _across(int(schedule.get(outputs[-1]).extent))
    values, x = schedule.split(outputs[-1], [None, across])
    if len(outputs) > 1:
        lines, y = schedule.split(schedule.fuse(*outputs[:-1]), [None, max(1, _THREADS // across)])
        schedule.reorder(lines, values, y, x)
        values = schedule.fuse(lines, values)
        schedule.bind(y, "threadIdx.y")
    if last is not main:
        schedule.compute_at(main, x)
        schedule.set_scope(main, 0, "local")
    schedule.bind(values, "blockIdx.x")
    schedule.bind(x, "threadIdx.x")
    return x


def _across(extent: int) -> int:
    """Neighbouring values that a block of threads takes: a divisor of their number, or blocks are uneven."""
    divisor = max(divisors(extent, _THREADS // 2))
    return divisor if divisor >= _FEWEST_ACROSS else min(extent, _THREADS // 4)
