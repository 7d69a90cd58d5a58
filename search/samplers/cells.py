"""Cells: choices that are the operations on the edges of a graph, and what follows from that graph alone."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from spaces.choice import Value

Array = NDArray[np.float64]
Codes = NDArray[np.int64]
ABSENT = frozenset({"none", "zero", "zeroize"})
"""What an edge is called that carries nothing."""
IDENTITY = frozenset({"skip_connect", "skip", "identity"})
"""What an edge is called that hands on what it gets."""
_EDGE = re.compile(r"(.*?)(\d+)\D+(\d+)")


class Cell:
    """A directed acyclic graph with one input and one output, its edges (from, to) at ``columns`` of the codes.

    Each edge is one of the same ``values``, as in NAS-Bench-201 (Dong and Yang, 2020, arXiv:2001.00326).
    """

    def __init__(self, columns: Sequence[int], edges: Sequence[tuple[int, int]], values: Sequence[Value]) -> None:
        order = sorted(range(len(edges)), key=lambda at: edges[at])
        self._columns = [columns[at] for at in order]
        self._edges = [edges[at] for at in order]
        self._absent = [at for at, value in enumerate(values) if value in ABSENT]
        self._steps = [at for at, value in enumerate(values) if value not in ABSENT | IDENTITY]
        every = np.ones((1, len(edges)), bool)
        self._longest = math.sqrt(self._most(every, every)[0])
        self._ways = math.sqrt(self._count(every)[0])
        self.width = 3 + len(self._steps)

    def carries(self, codes: Codes) -> NDArray[np.bool_]:
        """Whether any way leads from input to output, (n,): where none does, nothing can be learnt."""
        return self._count(self._present(codes)) > 0

    def canonical(self, codes: Codes) -> Codes:
        """The codes, (n, choices), with all edges absent that are on no way from input to output: what they are
        changes nothing."""
        found = codes.copy()
        if self._absent:
            dead = ~self._alive(self._present(codes))
            found[:, self._columns] = np.where(dead, self._absent[0], codes[:, self._columns])
        return found

    def shape(self, codes: Codes) -> Array:
        """What the ways from input to output are like, (n, width): how many there are, how many operations the
        longest and the shortest have, and how many of each operation there are at most on one.

        An edge that hands on what it gets is no operation. Counts are divided by the root of the most that they
        can be.
        """
        present, edges = self._present(codes), codes[:, self._columns]
        steps = np.isin(edges, self._steps)
        depths = [self._most(present, steps), -self._most(present, -1.0 * steps)]
        depths += [self._most(present, edges == step) for step in self._steps]
        return np.stack([self._count(present) / self._ways, *(each / self._longest for each in depths)], axis=1)

    def _present(self, codes: Codes) -> NDArray[np.bool_]:
        return ~np.isin(codes[:, self._columns], self._absent)

    def _alive(self, present: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which edges (n, edges) are on a way from input to output that is all ``present``."""
        ends, nothing = self._ends(), np.zeros(len(present), bool)
        begun, ending = ({end: nothing | True} for end in ends)
        for at, (before, after) in enumerate(self._edges):
            begun[after] = begun.get(after, nothing) | (begun[before] & present[:, at])
        for at, (before, after) in reversed(list(enumerate(self._edges))):
            ending[before] = ending.get(before, nothing) | (ending[after] & present[:, at])
        alive = [begun[a] & present[:, at] & ending[b] for at, (a, b) in enumerate(self._edges)]
        return np.stack(alive, axis=1)

    def _most(self, present: NDArray[np.bool_], lengths: NDArray[np.generic]) -> Array:
        """The greatest sum of ``lengths`` (n, edges) on a way from input to output; 0 where there is no way."""
        start, end = self._ends()
        reached = {start: np.zeros(len(present))}
        steps = np.where(present, lengths, -np.inf)
        for at, (before, after) in enumerate(self._edges):
            here = reached[before] + steps[:, at]
            reached[after] = np.maximum(reached[after], here) if after in reached else here
        return np.where(np.isfinite(reached[end]), reached[end], 0.0)

    def _count(self, present: NDArray[np.bool_]) -> Array:
        """How many ways lead from input to output."""
        start, end = self._ends()
        reached = {start: np.ones(len(present))}
        for at, (before, after) in enumerate(self._edges):
            reached[after] = reached.get(after, 0.0) + reached[before] * present[:, at]
        return reached[end]

    def _ends(self) -> tuple[int, int]:
        return self._edges[0][0], max(after for _, after in self._edges)


def cells_in(domain: Mapping[str, tuple[Value, ...]]) -> list[Cell]:
    """The cells among choices, as their names tell: ``edge_0-1``, ``cell/0_1`` is the edge from node 0 to node 1.

    Choices whose names begin alike are a cell where they have the same values, one of them a name of no
    operation (``ABSENT``, ``IDENTITY``), and their edges lead from lower to higher nodes, from one input to one
    output.
    """
    named: dict[str, list[tuple[int, tuple[int, int]]]] = defaultdict(list)
    values: dict[str, set[tuple[Value, ...]]] = defaultdict(set)
    for column, (name, known) in enumerate(domain.items()):
        if found := _EDGE.fullmatch(name):
            named[found[1]].append((column, (int(found[2]), int(found[3]))))
            values[found[1]].add(known)
    cells = []
    for name, members in named.items():
        first, *others = values[name]
        if not others and not (ABSENT | IDENTITY).isdisjoint(first) and _is_graph([edge for _, edge in members]):
            cells.append(Cell([column for column, _ in members], [edge for _, edge in members], first))
    return cells


def _is_graph(edges: Sequence[tuple[int, int]]) -> bool:
    """Whether edges, more than one and all different, lead upwards and in all from one node to one other."""
    starts, ends = ({edge[at] for edge in edges} for at in (0, 1))
    upwards = all(before < after for before, after in edges)
    return upwards and len(set(edges)) == len(edges) and len(starts - ends) == len(ends - starts) == 1 < len(edges)
