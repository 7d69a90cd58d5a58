"""ONNX files of several programs of a network, whose weights lie once in a file beside them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from results.store import write_atomically

_LEAST = 1024
"""Bytes of a tensor from which on it is kept beside the file."""
_BOUNDARY = 64
"""Bytes on whose multiples tensors begin."""
Place = tuple[int, int]
"""Where a tensor begins in the file of weights, and its bytes."""


def share_weights(files: Sequence[Path], weights: Path) -> None:
    """Move what ONNX files hold in themselves into ``weights``, in the same folder: each tensor once.

    A matrix that is there already with rows and columns exchanged (exporters write dense layers in both ways) is
    read from there and transposed by a node, which runtimes do once, as they load a file.
    """
    import onnx

    store = _Store(weights.name)
    for file in files:
        model = onnx.load(file)
        turned = [node for tensor in model.graph.initializer if (node := store.take(tensor)) is not None]
        nodes = [*turned, *model.graph.node]
        del model.graph.node[:]
        model.graph.node.extend(nodes)
        write_atomically(file, model.SerializeToString())
    write_atomically(weights, bytes(store.content))


class _Store:
    """What is in a file of weights so far."""

    def __init__(self, name: str) -> None:
        self.content = bytearray()
        self._name = name
        self._places: dict[tuple[object, ...], Place] = {}

    def take(self, tensor: Any) -> Any:
        """Have a tensor's values lie in the file; the node that turns them, where they lie there the other way."""
        import onnx

        values = onnx.numpy_helper.to_array(tensor)
        if values.nbytes < _LEAST:
            return None
        name, other = tensor.name, values.T
        if _key(values) not in self._places and values.ndim == 2 and _key(other) in self._places:
            self._refer(tensor, f"{name}.transposed", other)
            return onnx.helper.make_node("Transpose", [tensor.name], [name], perm=[1, 0])
        self._refer(tensor, name, values)
        return None

    def _refer(self, tensor: Any, name: str, values: NDArray[Any]) -> None:
        import onnx

        start, size = self._place(values)
        tensor.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(values), name))
        onnx.external_data_helper.set_external_data(tensor, self._name, start, size)
        tensor.ClearField("raw_data")

    def _place(self, values: NDArray[Any]) -> Place:
        key = _key(values)
        if key not in self._places:
            self.content.extend(bytes(-len(self.content) % _BOUNDARY))
            self._places[key] = len(self.content), values.nbytes
            self.content.extend(values.tobytes())
        return self._places[key]


def _key(values: NDArray[Any]) -> tuple[object, ...]:
    return (values.shape, str(values.dtype), hashlib.sha256(values.tobytes()).digest())
