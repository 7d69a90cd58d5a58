"""From an ONNX graph to a relax graph.

TVM's converters turn operators over one by one, but its own driver leaves arithmetic on shapes in the graph,
writes twice what is used twice, and prints. This one knows every shape as it goes: whatever depends on nothing but
constants and shapes is computed at once, by ONNX's reference implementation.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import tvm
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator
from tvm import relax
from tvm.ir import GenericConst
from tvm.relax.frontend.onnx import onnx_frontend

from evaluators.compile.importers.onnx_operators import OPERATORS, constant
from results.tensors import TensorSpec
from understudy import CompileError

Values = dict[str, relax.Expr]
DOMAINS = ("", "ai.onnx", "com.microsoft")
_ALIASES = ("Identity", "Dropout")
_LATE = ("DequantizeLinear", "RandomNormal", "RandomUniform", "If", "Loop", "Scan")
"""Not computed beforehand though their inputs are constant: weights that are to stay integers, and random ones."""


def convertible() -> frozenset[str]:
    """The operators that can be turned over."""
    return frozenset((*onnx_frontend._get_convert_map(), *OPERATORS, *_ALIASES, "Constant", "If"))


def import_graph(model: onnx.ModelProto, inputs: Sequence[TensorSpec]) -> tvm.IRModule:
    """The relax graph of a model for inputs of static shapes; raises ``CompileError`` naming a node."""
    return _Importer(model).run(inputs)


class _Importer:
    def __init__(self, model: onnx.ModelProto) -> None:
        self._graph = model.graph
        self._opsets = list(model.opset_import)
        self._opset = next(each.version for each in model.opset_import if each.domain in DOMAINS[:2])
        self._builder = relax.BlockBuilder()
        self._values: Values = {}

    def run(self, inputs: Sequence[TensorSpec]) -> tvm.IRModule:
        variables = [relax.Var(each.name, relax.TensorType(each.shape, each.dtype)) for each in inputs]
        with self._builder.function("main", params=variables):
            with self._builder.dataflow(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._values.update(zip((each.name for each in inputs), variables, strict=True))
                self._add_graph(self._graph)
                answers = [self._values[output.name] for output in self._graph.output]
                answer = self._builder.emit_output(answers[0] if len(answers) == 1 else relax.Tuple(answers))
            self._builder.emit_func_output(answer)
        return self._builder.get()

    def _add_graph(self, graph: onnx.GraphProto) -> None:
        for tensor in graph.initializer:
            self._values[tensor.name] = constant(onnx.numpy_helper.to_array(tensor))
        for node in graph.node:
            try:
                self._add(node)
            except CompileError:
                raise
            except Exception as error:  # TVM's converters raise whatever they run into
                raise CompileError(_cannot(node, error)) from error

    def _add(self, node: onnx.NodeProto) -> None:
        arguments = onnx_frontend.onnx_input(self._values[name] if name else None for name in node.input)
        if node.op_type in _ALIASES:
            results: Sequence[relax.Expr] = [arguments[0]]
        elif node.op_type in ("Shape", "Size"):
            results = [constant(_extents(node, arguments[0]))]
        elif node.op_type == "If":
            results = self._branch(node, arguments[0])
        else:
            results = self._computed(node, arguments) or self._converted(node, arguments)
        for name, value in zip(node.output, results, strict=False):
            if name:
                self._values[name] = value

    def _branch(self, node: onnx.NodeProto, condition: relax.Expr) -> list[relax.Expr]:
        """The results of the branch that is taken, which must be known now."""
        if not isinstance(condition, GenericConst):
            raise ValueError("its condition depends on the input")
        taken = "then_branch" if condition.value.numpy().item() else "else_branch"
        branch = next(attribute.g for attribute in node.attribute if attribute.name == taken)
        outer = dict(self._values)
        self._add_graph(branch)
        results = [self._values[output.name] for output in branch.output]
        self._values = outer
        return results

    def _computed(self, node: onnx.NodeProto, arguments: Sequence[relax.Expr | None]) -> list[relax.Expr] | None:
        """The node's results when all that it takes is known."""
        given = [value for value in arguments if value is not None]
        if node.op_type in _LATE or not all(isinstance(value, GenericConst) for value in given):
            return None
        names = [name for name in node.input if name]
        arrays = {name: value.value.numpy() for name, value in zip(names, given, strict=True)}
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            return [constant(onnx.numpy_helper.to_array(node.attribute[0].t))]
        if node.op_type == "GatherElements":  # the reference has it wrong where sizes differ
            axis = next((attribute.i for attribute in node.attribute), 0)
            data, indices = arrays.values()
            return [constant(np.take_along_axis(data, indices, axis))]
        infos = [onnx.helper.make_empty_tensor_value_info(name) for name in arrays]
        outputs = [onnx.helper.make_empty_tensor_value_info(name) for name in node.output if name]
        graph = onnx.helper.make_graph([node], "node", infos, outputs)
        model = onnx.helper.make_model(graph, opset_imports=self._opsets)
        try:
            results = iter(ReferenceEvaluator(model).run(None, arrays))
        except Exception:  # not every operator has a reference, and TVM's converter may do as well
            return None
        return [constant(np.asarray(next(results))) if name else None for name in node.output]

    def _converted(self, node: onnx.NodeProto, arguments: Any) -> list[relax.Expr]:
        attributes = _attributes(node)
        if "output_shape" in attributes:  # which TVM's converter passes over
            raise ValueError("its output_shape is not supported, pads are")
        own = OPERATORS.get(node.op_type)
        if own is not None:
            result = own(self._builder, arguments, attributes)
        else:
            attributes["tvm_custom"] = {"name": node.name, "num_outputs": len(node.output)}
            kind = onnx_frontend._get_convert_map()[node.op_type]
            convert = kind.get_converter(1 if node.domain == "com.microsoft" else self._opset)
            result = convert(self._builder, arguments, attributes, [self._values, {}])
        return self._parts(result)

    def _parts(self, result: relax.Expr) -> list[relax.Expr]:
        """The results, each bound to a variable so that it is computed once."""
        if isinstance(result, relax.Tuple):
            return [self._bound(part) for part in result.fields]
        result = self._bound(result)
        if isinstance(result.ty, relax.TupleType):
            return [self._builder.emit(relax.TupleGetItem(result, at)) for at in range(len(result.ty.fields))]
        return [result]

    def _bound(self, value: relax.Expr) -> relax.Expr:
        if isinstance(value, relax.ShapeExpr):
            return constant(np.array([int(extent) for extent in value.values], np.int64))
        if isinstance(value, GenericConst | relax.Var):
            return value
        return self._builder.emit(value)


def _extents(node: onnx.NodeProto, value: relax.Expr) -> NDArray[np.int64]:
    """What ``Shape`` or ``Size`` says of a value of static shape."""
    shape = np.array([int(extent) for extent in value.ty.shape], np.int64)
    if node.op_type == "Size":
        return np.asarray(shape.prod())
    bounds: Mapping[str, int] = {attribute.name: attribute.i for attribute in node.attribute}
    return shape[bounds.get("start", 0) : bounds.get("end", len(shape))]


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """The attributes as TVM's converters expect them: lists as tuples, empty ones left out."""
    found = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    return {
        name: tuple(value) if isinstance(value, list) or hasattr(value, "add") else value
        for name, value in found.items()
        if not (isinstance(value, list) and not value)
    }


def _cannot(node: onnx.NodeProto, error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = lines[-1][:200] if lines else type(error).__name__
    name = f" ({node.name})" if node.name else ""
    return f"operator {node.op_type}{name} cannot be compiled ({reason}): replace it, or export in another way"
