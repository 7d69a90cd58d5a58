"""From a graph as a user has it to a prepared ``GraphTask`` on disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evaluators.graphs.graph_task import GraphTask
from evaluators.tasks.task import UNLABELLED
from evaluators.tasks.vectors import Vectors, lay_out, split_labelled
from understudy import DataError


@dataclass(frozen=True)
class Graph:
    """Nodes with features and labels, and ``edges`` int64 (2, E) from node to node.

    Raises ``DataError`` for an edge to a node that does not exist.
    """

    nodes: Vectors
    edges: NDArray[np.int64]

    def __post_init__(self) -> None:
        count = len(self.nodes.features)
        beyond = ((self.edges < 0) | (self.edges >= count)).any(axis=0)
        if beyond.any():
            first = int(beyond.argmax())
            raise DataError(
                f"edge {first} of {self.nodes.source} goes from node {self.edges[0, first]} to node "
                f"{self.edges[1, first]}, but the nodes are 0 to {count - 1} ({int(beyond.sum())} such edges)"
            )


def create_graph_task(graph: Graph, *, cache: Path, seed: int) -> GraphTask:
    """Prepare a graph as a task in a folder of ``cache``, or open it there if it was prepared before.

    Edges are taken in both directions, once each, without loops. Raises ``DataError`` as ``create_vector_task``.
    """
    nodes = graph.nodes
    train, val, test = split_labelled(nodes, seed)
    rest = np.setdiff1d(np.arange(len(nodes.features)), train)
    targets = np.concatenate([nodes.targets[train], np.full(len(rest), UNLABELLED), nodes.targets[val]])
    targets = np.concatenate([targets, nodes.targets[test]])
    edges = both_ways(graph.edges)
    notes = [f"{len(train)} nodes train with their labels; on all {len(nodes.features)} the teacher's answers do"]
    alone = len(nodes.features) - len(np.unique(edges))
    if alone:
        notes.append(f"{alone} nodes have no neighbour")
    parts = (np.concatenate([train, rest]), val, test)
    task = lay_out(GraphTask, nodes, parts, targets, {"edges": edges}, cache=cache, seed=seed, notes=notes)
    assert isinstance(task, GraphTask)
    return task


def both_ways(edges: NDArray[np.int64]) -> NDArray[np.int64]:
    """The edges and their reverses, (2, E) sorted, each once and none from a node to itself."""
    kept = edges[:, edges[0] != edges[1]]
    both: NDArray[np.int64] = np.unique(np.concatenate([kept, kept[::-1]], axis=1), axis=1)
    return both
