"""ONNX models of half precision as models that compute in single precision (see ``single.py`` of the compiler)."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

HALF = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
_INSIDE = "in_single."
"""Goes before the names of values that are half outside."""


def in_single(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with single precision instead of half; itself without any half.

    Inputs and outputs of float16 stay so; those of bfloat16 become float32, because numpy has no such type.
    """
    graph = model.graph
    kinds = {value.name: value.type.tensor_type.elem_type for value in (*graph.input, *graph.output)}
    stored = [tensor.data_type for tensor in graph.initializer]
    if not any(kind in HALF for kind in (*kinds.values(), *stored)):
        return model
    single = onnx.ModelProto()
    single.CopyFrom(model)
    _widen(single.graph)
    held = {tensor.name for tensor in single.graph.initializer}
    halved = {name for name, kind in kinds.items() if kind == TensorProto.FLOAT16 and name not in held}
    for node in single.graph.node:
        for names in (node.input, node.output):
            for at, name in enumerate(names):
                names[at] = _INSIDE + name if name in halved else name
    for value in single.graph.input:
        if value.name in halved:
            single.graph.node.insert(0, _cast(value.name, _INSIDE + value.name, TensorProto.FLOAT))
    for value in single.graph.output:
        if value.name in halved:
            single.graph.node.append(_cast(_INSIDE + value.name, value.name, TensorProto.FLOAT16))
    for value in (*single.graph.input, *single.graph.output):
        if kinds[value.name] in HALF:
            value.type.tensor_type.elem_type = TensorProto.FLOAT16 if value.name in halved else TensorProto.FLOAT
    return single


def _widen(graph: onnx.GraphProto) -> None:
    """Constants, casts and the graphs of branches in single precision."""
    del graph.value_info[:]
    for tensor in graph.initializer:
        _widen_tensor(tensor)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.name in ("to", "dtype") and attribute.i in HALF:
                attribute.i = TensorProto.FLOAT
            if attribute.HasField("t"):
                _widen_tensor(attribute.t)
            if attribute.HasField("g"):
                _widen(attribute.g)


def _widen_tensor(tensor: TensorProto) -> None:
    if tensor.data_type in HALF:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))


def _cast(source: str, target: str, kind: int) -> onnx.NodeProto:
    return onnx.helper.make_node("Cast", [source], [target], name=f"{target}.cast", to=kind)
