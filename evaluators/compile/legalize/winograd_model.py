"""When Winograd's algorithm is worth it, and with which tiles: modelled cycles from the shape and the profile.

Counted are the products in their register tile, the transforms by the vectors they load and store, and the bytes
of weights: F(m x m, 3 x 3) keeps (m + 2)^2 / 9 times as many (1.8 for m = 2, 4 for m = 4), which every job reads
again, from the cache they fit or from memory when they are more than a small share of the last level (a network's
other layers pass through it between two runs). The direct kernel is counted the same way, at its best tile, so
that the ratio of both is what counts: ``CLEARLY`` asks for more than the model's own error. Layers with few pixels
and many channels (7 x 7 x 512) fail it, bound by their weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from evaluators.compile.choices import Choice
from evaluators.compile.kernels.cook_toom import POINTS, TAPS
from evaluators.compile.tiles import divisors, lanes_for
from hw_profiles.profile import Profile

DIRECT: Choice = {"m": 0}
CLEARLY = 0.75
"""Modelled share of the direct kernel's time under which Winograd is taken."""
_HOPELESS = 1.3
_OPTIONS = 8
_FMA_LATENCY = 4
_STEP_OVERHEAD = 0.5
_BLOCK_OVERHEAD = 25
_FLOAT_BYTES = 4
_SECOND_CYCLES, _THIRD_CYCLES = 0.06, 0.1
"""Cycles to write a byte to the second level of cache and read it again, and those that the third adds."""
_HELD_CYCLES, _CACHE_CYCLES = 0.015, 0.025
"""Cycles for a byte of weights from the second and from the last level of cache."""
_MEMORY_CYCLES = 0.2
"""Cycles for a byte of weights from memory."""
_MEMORY_SHARE = 16
"""Weights over this part of the last level are taken to come from memory."""
_LAUNCH_CYCLES = 1e4


@dataclass(frozen=True)
class Sizes:
    """What the model asks of a convolution: ``height`` and ``width`` are the output's."""

    batch: int
    inputs: int
    channels: int
    height: int
    width: int


def options(sizes: Sizes, profile: Profile) -> list[Choice]:
    """Ways to compute the convolution, the model's best first; ``DIRECT`` stands for the direct kernel.

    Without a chance for Winograd's algorithm ``DIRECT`` is the only one.
    """
    if sizes.channels < 4 or sizes.inputs < 4:
        return [DIRECT]
    ranked = _ranked(sizes, _Machine.of(profile))
    direct = _direct_cycles(sizes, _Machine.of(profile))
    best = ranked[0][0]
    ways: list[Choice] = [dict(zip(_NAMES, way, strict=True)) for _, way in ranked[:_OPTIONS]]
    if best > _HOPELESS * direct:
        return [DIRECT]
    return [*ways, DIRECT] if best < CLEARLY * direct else [DIRECT, *ways]


@dataclass(frozen=True)
class _Machine:
    vector_bits: int
    registers: int
    threads: int
    l1_bytes: int
    l2_bytes: int
    last_bytes: int

    @staticmethod
    def of(profile: Profile) -> _Machine:
        last = profile.l3_bytes or profile.l2_bytes
        return _Machine(
            profile.vector_bits,
            profile.vector_registers,
            profile.threads,
            profile.l1d_bytes,
            profile.l2_bytes,
            last,
        )

    def spill_cycles(self, size: float) -> float:
        """Cycles that ``size`` bytes of a job's own cost because they do not fit the first or second cache."""
        beyond_first, beyond_second = max(0.0, size - self.l1_bytes), max(0.0, size - self.l2_bytes)
        return _SECOND_CYCLES * beyond_first + _THIRD_CYCLES * beyond_second

    def weight_cycles(self, size: float, times: float, held: bool) -> float:
        """Cycles to read ``size`` bytes of weights so many times in a run, ``held`` by the second cache or not."""
        first = _MEMORY_CYCLES if size > self.last_bytes / _MEMORY_SHARE else _CACHE_CYCLES
        return size * (first + (times - 1) * (_HELD_CYCLES if held else _CACHE_CYCLES))


_NAMES = ("m", "rows", "columns", "groups", "height", "vectors", "lanes")


@lru_cache(maxsize=256)
def _ranked(sizes: Sizes, machine: _Machine) -> Sequence[tuple[float, tuple[int, ...]]]:
    ways = _ways(sizes, machine)
    return sorted((_cycles(sizes, machine, *way), way) for way in ways)


def _ways(sizes: Sizes, machine: _Machine) -> Iterator[tuple[int, ...]]:
    lanes = lanes_for(sizes.channels, machine.vector_bits)
    for m in POINTS:
        down, across = -(-sizes.height // m), -(-sizes.width // m)
        for rows in _parts(down):
            for columns in _parts(across):
                for vectors in range(1, min(4, -(-sizes.channels // lanes)) + 1):
                    packed = -(-sizes.channels // (vectors * lanes))
                    height = _best_height(rows * columns, vectors, machine.registers)
                    for groups in divisors(packed, 2 * machine.threads):
                        yield m, rows, columns, groups, height, vectors, lanes


def _parts(tiles: int) -> list[int]:
    """Sizes of blocks that cut a row of tiles into few nearly equal parts, or into single tiles."""
    return sorted(
        {-(-tiles // parts) for parts in (1, 2, 3, 4, 6, 8)} | {size for size in (1, 2) if size <= tiles}
    )


def _step(height: int, vectors: int) -> float:
    """Cycles of one step of a register tile: two multiply-adds each, and two loads of weights or one of inputs,
    whose rows lie whole cache lines apart and so in the same bank."""
    return max(height * vectors / 2, height, vectors / 2, _FMA_LATENCY) + _STEP_OVERHEAD


@lru_cache(maxsize=1024)
def _best_height(tiles: int, vectors: int, registers: int) -> int:
    most = max(1, min(tiles, (registers - 1 - vectors) // vectors))
    return min(range(1, most + 1), key=lambda height: (-(-tiles // height) * _step(height, vectors), -height))


def _cycles(
    sizes: Sizes,
    machine: _Machine,
    m: int,
    rows: int,
    columns: int,
    groups: int,
    height: int,
    vectors: int,
    lanes: int,
) -> float:
    n, tiles = m + TAPS - 1, rows * columns
    panels = -(-sizes.channels // (vectors * lanes * groups))
    inputs, outputs = -(-sizes.inputs // lanes), panels * vectors
    steps = -(-tiles // height) * (sizes.inputs * _step(height, vectors) + 2 * height * vectors + _BLOCK_OVERHEAD)
    transforms: float = rows * (columns * m + 2) * inputs * 2 * n + n * tiles * inputs * 2 * n
    transforms += (n + 1.5 * m) * tiles * outputs * (n + 2 * m)
    places = sizes.batch * -(-sizes.height // (rows * m)) * -(-sizes.width // (columns * m))
    jobs = places * groups
    weights = n * n * sizes.inputs * panels * vectors * lanes * _FLOAT_BYTES
    own = (rows * n * (columns * m + 2) + n * tiles) * sizes.inputs + n * m * tiles * outputs * lanes
    held = weights + own * _FLOAT_BYTES <= machine.l2_bytes
    one = n * n * panels * steps + transforms + machine.spill_cycles(own * _FLOAT_BYTES)
    reading = groups * machine.weight_cycles(weights, places, held)
    serial = jobs * one + reading
    parallel = -(-jobs // machine.threads) * one + reading / min(machine.threads, jobs) + _LAUNCH_CYCLES
    return min(serial, parallel)


def _direct_cycles(sizes: Sizes, machine: _Machine) -> float:
    """The direct convolution at its best register tile."""
    lanes = lanes_for(sizes.channels, machine.vector_bits)
    pixels = sizes.batch * sizes.height * sizes.width
    best = math.inf
    for vectors in range(1, min(4, -(-sizes.channels // lanes)) + 1):
        height = max(1, (machine.registers - 1 - vectors) // vectors)
        panels = -(-sizes.channels // (vectors * lanes))
        best = min(best, _step(height, vectors) / height * panels)
    work = pixels * TAPS**2 * sizes.inputs * best
    weights = machine.weight_cycles(TAPS**2 * sizes.inputs * sizes.channels * _FLOAT_BYTES, 1, held=False)
    return min(work + weights, (work + weights) / machine.threads + _LAUNCH_CYCLES)
