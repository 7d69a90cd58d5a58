"""Reshapes and permutations as an algebra, so that chains of them cost one pass over the data or none.

Any chain of reshapes and permutations of a contiguous tensor is one reshape to factors of its axes (atoms), one
permutation of these, and one reshape. Axes of one element move for nothing and are left out; atoms that stay
neighbours in the same order are one atom. So two chains with the same effect are equal, and a chain that moves
nothing has a single atom.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

Shape = tuple[int, ...]


@dataclass(frozen=True)
class View:
    """A value of ``shape`` seen in a stored tensor of as many elements.

    ``atoms`` are the factors of the stored tensor's axes from the slowest to the fastest, ``order`` is where the
    value has them: its i-th factor is ``atoms[order[i]]``.
    """

    atoms: Shape
    order: Shape
    shape: Shape

    @property
    def is_plain(self) -> bool:
        """Whether the value's elements lie in memory as they are: it is at most a reshape."""
        return len(self.atoms) <= 1

    def reshape(self, shape: Shape) -> View | None:
        """The value reshaped; None when its new axes cut across factors that are apart in memory."""
        if refine([self.atoms[atom] for atom in self.order], shape) is None:
            return None
        return View(self.atoms, self.order, shape)

    def permute(self, axes: Sequence[int]) -> View:
        """The value with its axes permuted."""
        groups = self.factors()
        split = self.split(groups)
        starts = _starts(groups)
        order = [split.order[starts[axis] + i] for axis in axes for i in range(len(groups[axis]))]
        return merged(split.atoms, order, tuple(self.shape[axis] for axis in axes))

    def factors(self) -> list[list[int]]:
        """The factors of each axis of the value, those of one element having none."""
        pieces = refine([self.atoms[atom] for atom in self.order], self.shape)
        assert pieces is not None  # the shape was accepted by reshape
        return group(pieces, self.shape)

    def split(self, groups: Iterable[Iterable[int]]) -> View:
        """The same view with its atoms split where the value's axes, of these factors, begin and end."""
        wanted = iter([factor for axis in groups for factor in axis])
        parts: dict[int, list[int]] = {}
        for atom in self.order:
            parts[atom] = []
            while math.prod(parts[atom]) < self.atoms[atom]:
                parts[atom].append(next(wanted))
        starts = _starts([parts[atom] for atom in range(len(self.atoms))])
        atoms = [factor for atom in range(len(self.atoms)) for factor in parts[atom]]
        order = [starts[atom] + i for atom in self.order for i in range(len(parts[atom]))]
        return View(tuple(atoms), tuple(order), self.shape)


@lru_cache(maxsize=4096)
def identity(shape: Shape) -> View:
    """A stored tensor seen as it is.

    >>> identity((2, 3, 4)).permute([0, 2, 1]).permute([0, 2, 1]) == identity((2, 3, 4))
    True
    """
    return merged([math.prod(shape)], [0], shape)


def merged(atoms: Sequence[int], order: Sequence[int], shape: Shape) -> View:
    """A view with as few atoms as it has, the form in which equal views compare as equal."""
    kept = [atom for atom in order if atoms[atom] > 1]
    rank = {atom: place for place, atom in enumerate(sorted(kept))}
    runs: list[list[int]] = []
    for atom in kept:
        if runs and rank[runs[-1][-1]] + 1 == rank[atom]:
            runs[-1].append(atom)
        else:
            runs.append([atom])
    stored = sorted(runs)
    extents = tuple(math.prod(atoms[atom] for atom in run) for run in stored)
    return View(extents, tuple(stored.index(run) for run in runs), shape)


def refine(left: Sequence[int], right: Sequence[int]) -> list[int] | None:
    """The coarsest factors that both lists of extents are products of, in order; None when there are none.

    >>> refine([6, 4], [2, 12]), refine([2, 3], [3, 2])
    ([2, 3, 4], None)
    """
    pieces: list[int] = []
    waiting = [extent for extent in reversed(right) if extent > 1]
    for extent in left:
        while extent > 1:
            if not waiting:
                return None
            next_extent = waiting.pop()
            piece = min(extent, next_extent)
            if extent % piece or next_extent % piece:
                return None
            pieces.append(piece)
            extent //= piece
            if next_extent > piece:
                waiting.append(next_extent // piece)
    return pieces


def group(pieces: Sequence[int], shape: Shape) -> list[list[int]]:
    """Factors in order given to the axes whose products they are.

    >>> group([2, 3, 4], (6, 1, 4))
    [[2, 3], [], [4]]
    """
    rest = iter(pieces)
    groups: list[list[int]] = []
    for extent in shape:
        axis: list[int] = []
        while math.prod(axis) < extent:
            axis.append(next(rest))
        groups.append(axis)
    return groups


def _starts(groups: Sequence[Sequence[int]]) -> list[int]:
    starts = [0]
    for axis in groups:
        starts.append(starts[-1] + len(axis))
    return starts
