"""Classification of a graph's nodes by students that see a node's features and no graph.

Beside what a task of vectors has, its folder holds ``edges.npy``, int64 (2, E): from a node (a row of the
features) to a node.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from evaluators.tasks.task import Split
from evaluators.tasks.vector_task import VectorTask


@dataclass(frozen=True)
class GraphTask(VectorTask):
    """Nodes in classes, transductive: all nodes are known, the labels of few.

    The training split holds every node: first those with a label, then all others without one
    (``UNLABELLED``), on which the teacher's answers alone are learnt (GLNN, Zhang et al., 2022,
    arXiv:2110.08727). The labels of val and test only judge.
    """

    kind: ClassVar[str] = "graph"
    distill: ClassVar[str] = "soft-targets:temperature=1,weight=1"
    """GLNN's own mix: the answers as they are, and of the labels only what the teacher makes of them."""

    @property
    def edges(self) -> NDArray[np.int64]:
        """From node to node, (2, E), memory-mapped; each direction is an edge of its own."""
        return self._edges

    def images(self, split: Split, ids: ArrayLike, resolution: int, view: int = 0) -> Tensor:
        """The nodes themselves, int64 (B,): a teacher that knows the graph takes their numbers."""
        return torch.from_numpy(self.rows(split, ids))

    @cached_property
    def _edges(self) -> NDArray[np.int64]:
        edges: NDArray[np.int64] = np.load(self.folder / "edges.npy", mmap_mode="r", allow_pickle=False)
        return edges


class WholeGraph(GraphTask):
    """The same nodes for students that know the graph: they too take the numbers of nodes, int64 (B,)."""

    def batch(self, split: Split, ids: ArrayLike, resolution: int, view: int = 0) -> Tensor:
        """The nodes themselves, int64 (B,)."""
        return self.images(split, ids, resolution, view)
