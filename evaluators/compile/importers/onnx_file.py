"""ONNX files, checked against ONNX Runtime."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
import onnx.inliner
import tvm

from evaluators.compile.importers.network_file import Array, Sizes, static_shapes
from evaluators.compile.importers.onnx_graph import DOMAINS, convertible, import_graph
from evaluators.compile.importers.onnx_single import in_single
from evaluators.compile.verify import ROUNDING, TOLERANCE
from results.tensors import TensorSpec
from understudy import CompileError

LARGEST = 2**31 - 1
"""Bytes of one protobuf file."""


class OnnxFile:
    """The network of an ONNX file, with weights inside or beside it. See ``NetworkFile``."""

    def __init__(self, path: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self._path = path
        given = _load(path)
        self._model = in_single(given)
        self._is_given = self._model is given
        graph = self._model.graph
        held = {tensor.name for tensor in graph.initializer}
        asked = {value.name: value.type.tensor_type for value in graph.input if value.name not in held}
        found = static_shapes(path, {name: _sizes(path, name, kind) for name, kind in asked.items()}, shapes)
        self.inputs = tuple(
            TensorSpec(name, found[name], str(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)))
            for name, kind in asked.items()
        )
        self.outputs = tuple(output.name for output in graph.output)
        quantised = any(node.op_type == "QuantizeLinear" for node in graph.node)
        self.tolerance = ROUNDING if quantised else TOLERANCE

    def module(self) -> tvm.IRModule:
        """See ``NetworkFile``."""
        model = _plain(self._path, self._model)
        return import_graph(model, self.inputs)

    def expected(self, inputs: tuple[Array, ...]) -> tuple[Array, ...]:
        """See ``NetworkFile``."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        # its integer kernels for some processors saturate, its float ones are what the file means
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        try:
            source = self._path if self._is_given else self._model.SerializeToString()
            session: Any = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
            return tuple(session.run(None, dict(zip((each.name for each in self.inputs), inputs, strict=True))))
        except Exception as error:  # onnxruntime's exceptions share no base class but this
            first = str(error).strip().splitlines()[0]
            raise CompileError(f"onnxruntime cannot run {self._path} ({first}): export it again") from error

    def write_onnx(self, path: Path) -> None:
        """See ``NetworkFile``; weights that lie beside the file are put into it."""
        if not any(
            tensor.external_data for tensor in onnx.load(self._path, load_external_data=False).graph.initializer
        ):
            shutil.copyfile(self._path, path)
            return
        if self._model.ByteSize() > LARGEST:
            raise CompileError(f"{self._path} is larger than one ONNX file can be")
        onnx.save_model(self._model, str(path))


def _load(path: Path) -> onnx.ModelProto:
    try:
        model = onnx.load(str(path))
    except Exception as error:  # protobuf's and onnx's errors, and those of missing files beside it
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CompileError(f"{path} cannot be read as an ONNX file ({first}): export it again") from error
    if not model.graph.output:
        raise CompileError(f"{path} holds no network: export it again")
    return model


def _sizes(path: Path, name: str, kind: Any) -> Sizes:
    if not kind.HasField("shape"):
        raise CompileError(f"{path} does not say how many sizes its input {name} has: export it with shapes")
    return [dim.dim_value or dim.dim_param or None for dim in kind.shape.dim]


def _plain(path: Path, model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without functions of its own, and without operators that have to be written in others."""
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    known = convertible()
    foreign = [node for node in model.graph.node if node.op_type not in known or node.domain not in DOMAINS]
    if not foreign:
        return model
    names = [(node.domain, node.op_type) for node in foreign]
    model = onnx.inliner.inline_selected_functions(model, names, exclude=False, inline_schema_functions=True)
    for node in model.graph.node:
        if node.op_type not in known or node.domain not in DOMAINS:
            full = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
            raise CompileError(
                f"{path} uses the operator {full} ({node.name}), which is not known here: export it without"
            )
    return model
