"""Graph neural networks of two layers on one fixed graph, from PyTorch Geometric."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType, ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from evaluators.graphs.graph_task import GraphTask
from evaluators.tasks.vectors import is_sparse
from understudy import TeacherError, unknown_name


@dataclass(frozen=True)
class Kind:
    """A kind of layer: its class in PyTorch Geometric, its paper's heads, width (heads together) and dropout."""

    layer: str
    heads: int
    width: int
    dropout: float


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "gcn": Kind("GCNConv", 1, 64, 0.8),  # Kipf and Welling, 2017, arXiv:1609.02907
        "sage": Kind("SAGEConv", 1, 64, 0.8),  # Hamilton et al., 2017, arXiv:1706.02216
        "gat": Kind("GATConv", 8, 64, 0.6),  # Velickovic et al., 2018, arXiv:1710.10903
    }
)


class GraphNet(nn.Module):
    """Nodes by number, int64 (B,) -> logits (B, classes); all nodes are computed, those asked for kept.

    Layers: ``lift`` (features to ``width``), ``first`` and ``last`` (over the graph), for all nodes. ``edges`` is
    the graph, ``trained`` the node of each training sample by its number.
    Features that are never negative, as counts of words, are scaled to one length a node; others are standardised.
    """

    edges: Tensor
    trained: Tensor

    def __init__(self, task: GraphTask, kind: str, width: int | None = None) -> None:
        super().__init__()
        if kind not in KINDS:
            raise TeacherError(unknown_name("graph network", kind, KINDS))
        layers, made = geometric(), KINDS[kind]
        width = made.width if width is None else width
        self.kind, self.width, self.dropout = kind, width, made.dropout
        self.lift = _lift(_scaled(task), width, made.dropout)
        layer: Any = getattr(layers, made.layer)
        heads = {"heads": made.heads} if made.heads > 1 else {}
        self.first = layer(width, width // made.heads, **heads)
        self.last = layer(width, task.classes)
        self.register_buffer("edges", torch.from_numpy(np.array(task.edges)), persistent=False)
        trained = torch.from_numpy(task.rows("train", np.arange(task.size("train"))))
        self.register_buffer("trained", trained, persistent=False)

    def forward(self, nodes: Tensor) -> Tensor:
        """Logits of these nodes."""
        hidden = functional.relu(self.first(self.lift(), self.edges))
        hidden = functional.dropout(hidden, self.dropout, self.training)
        logits: Tensor = self.last(hidden, self.edges)
        return logits[nodes]

    @torch.no_grad()
    def hidden(self) -> Tensor:
        """What the first layer over the graph says of every node, (N, width), when nothing is left out."""
        training = self.training
        self.eval()
        hidden: Tensor = self.first(self.lift(), self.edges)
        self.train(training)
        return hidden


class _Dense(nn.Module):
    """All features, (N, D), to (N, width)."""

    features: Tensor

    def __init__(self, features: NDArray[np.float32], width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.linear = nn.Linear(features.shape[1], width)
        self.register_buffer("features", torch.from_numpy(features), persistent=False)

    def forward(self) -> Tensor:
        lifted: Tensor = self.linear(functional.dropout(self.features, self.dropout, self.training))
        return lifted


class _Sparse(nn.Module):
    """As ``_Dense``, reading and multiplying only what is not zero."""

    columns: Tensor
    values: Tensor
    starts: Tensor

    def __init__(self, features: NDArray[np.float32], width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.weight = nn.Parameter(nn.Linear(features.shape[1], width).weight.detach().T.contiguous())
        self.bias = nn.Parameter(torch.zeros(width))
        rows, columns = np.nonzero(features)
        arrays = {
            "columns": columns,
            "values": features[rows, columns],
            "starts": np.searchsorted(rows, np.arange(len(features))),
        }
        for name, array in arrays.items():
            self.register_buffer(name, torch.from_numpy(array), persistent=False)

    def forward(self) -> Tensor:
        values = functional.dropout(self.values, self.dropout, self.training)
        lifted = functional.embedding_bag(
            self.columns, self.weight, self.starts, mode="sum", per_sample_weights=values
        )
        return lifted + self.bias


def _lift(features: NDArray[np.float32], width: int, dropout: float) -> nn.Module:
    return (_Sparse if is_sparse(features) else _Dense)(features, width, dropout)


def _scaled(task: GraphTask) -> NDArray[np.float32]:
    features = np.array(task.features)
    scaled: NDArray[np.float32]
    if features.min() < 0:
        scaled = task.normalise(torch.from_numpy(features)).numpy()
        return scaled
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    lengths[lengths == 0] = 1
    scaled = features * (features.shape[1] ** 0.5 / lengths).astype(np.float32)
    return scaled


def geometric() -> ModuleType:
    """PyTorch Geometric's layers; raises ``TeacherError`` when it is not installed."""
    try:
        return importlib.import_module("torch_geometric.nn")
    except ImportError as error:
        raise TeacherError(
            f"graph neural networks need PyTorch Geometric ({error}): pip install 'understudy[graph]'"
        ) from error
