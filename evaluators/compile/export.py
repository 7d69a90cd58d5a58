"""From a torch network to a relax graph: recorded where it is plain, otherwise by ``torch.export``."""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Iterable
from typing import Any, TypeGuard

import torch
import tvm
from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from tvm.relax.frontend.torch import from_exported_program

from evaluators.compile.converters import CONVERTERS
from evaluators.compile.record import Recorded, record
from evaluators.compile.single import in_single
from understudy import CompileError

_ACTIVATIONS = ("relu", "relu6", "hardtanh", "hardswish", "hardsigmoid", "silu", "sigmoid", "tanh", "dropout")
_POOLS = (
    "adaptive_avg_pool2d",
    "max_pool2d",
    "avg_pool2d",
    "mean",
    "upsample_bilinear2d",
    "upsample_nearest2d",
    "upsample_bicubic2d",
)
_LAYERS = ("conv2d", "batch_norm", "linear", "add", "mul", "cat", "pad", "constant_pad_nd")
_SHAPES = ("flatten", "view", "reshape", "permute", "transpose", "contiguous", "unsqueeze")
PLAIN_OPERATORS = frozenset((*_ACTIVATIONS, *_POOLS, *_LAYERS, *_SHAPES))
"""Operators that TVM imports rightly as they are. Only programs with others are decomposed first, which costs as
much time as all the rest of the import and the schedules together."""

_ATTENTION = "scaled_dot_product_attention"
_WHOLE = (
    torch.ops.aten.linear.default,
    torch.ops.aten.matmul.default,
    torch.ops.aten.layer_norm.default,
    torch.ops.aten.gelu.default,
    torch.ops.aten.silu.default,
    torch.ops.aten.scaled_dot_product_attention.default,
    torch.ops.aten.upsample_nearest3d.vec,
    torch.ops.aten.upsample_trilinear3d.vec,
    torch.ops.aten._upsample_bilinear2d_aa.vec,
    torch.ops.aten._upsample_bicubic2d_aa.vec,
)
"""Operators that are not decomposed when others of a program are."""

_FRESH = frozenset(("conv2d", "batch_norm", "linear", "add", "mul", "cat"))
"""Operators whose result is no view, so that one may be changed in place where nothing else reads it."""


def export_network(network: nn.Module, example: tuple[Tensor, ...]) -> ExportedProgram:
    """The network's graph for inputs of the example's shapes, in evaluation mode; the network is left as it is.

    Raises ``CompileError`` naming the layer that cannot be exported.
    """
    frozen = copy.deepcopy(network).cpu().eval().requires_grad_(False)
    entered: list[str] = []
    hooks = [
        module.register_forward_pre_hook(lambda *_, name=name: entered.append(name))
        for name, module in frozen.named_modules()
    ]
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.export.export(frozen, tuple(tensor.detach().cpu() for tensor in example))
    except Exception as error:  # whatever a user's forward raises while torch traces it
        raise CompileError(
            f"{_layer(frozen, entered)} cannot be exported ({_first_line(error)}): "
            "write its forward without branches on values and with operators torch.export knows"
        ) from error
    finally:
        for hook in hooks:
            hook.remove()


def import_network(network: nn.Module, example: Tensor | tuple[Tensor, ...]) -> tvm.IRModule:
    """The relax graph of a network for inputs of the example's shapes and dtypes; raises ``CompileError``.

    Networks of half precision compute in single precision (``single.py``).
    """
    network, inputs = in_single(network, (example,) if isinstance(example, Tensor) else example)
    recorded = record(network, inputs, _is_plain_node)
    if recorded is not None:
        try:
            return import_program(recorded)
        except CompileError:
            pass  # torch.export knows which layer the operator is from
    return import_program(export_network(network, inputs))


def import_program(program: ExportedProgram | Recorded) -> tvm.IRModule:
    """The relax graph of a program: its inputs are the parameters of ``main``, all else constants.

    Raises ``CompileError`` naming the operator that TVM's importer does not know, and the layer it is from.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = _decomposed(program) if _is_composed(program) else program
            return from_exported_program(
                program,
                unwrap_unit_return_tuple=True,
                run_ep_decomposition=False,
                custom_convert_map=dict(CONVERTERS),
            )
    except Exception as error:  # the importer raises whatever its handlers run into
        raise CompileError(
            f"{_origin(program, str(error))} cannot be compiled ({_reason(error)}): use another operator there"
        ) from error


def _decomposed(program: ExportedProgram) -> ExportedProgram:
    """The program in torch's core operators, but for those that TVM or we have better kernels for whole."""
    table: Any = torch.export.default_decompositions()
    kept = set(_WHOLE)
    if not all(_is_common_attention(node) for node in program.graph.nodes if _operator(node) == _ATTENTION):
        kept.discard(torch.ops.aten.scaled_dot_product_attention.default)
    for operator in kept:
        table.pop(operator, None)
    decomposed: ExportedProgram = program.run_decompositions(table)
    return decomposed


def _is_common_attention(node: fx.Node) -> bool:
    """Of as many keys' heads as queries', four dimensions, without dropout."""
    query, key = (argument.meta["val"].shape for argument in node.args[:2] if isinstance(argument, fx.Node))
    dropout = node.args[4] if len(node.args) > 4 else node.kwargs.get("dropout_p", 0.0)
    return bool(len(query) == len(key) == 4 and query[:2] == key[:2] and dropout == 0)


def _is_composed(program: ExportedProgram | Recorded) -> TypeGuard[ExportedProgram]:
    """Whether some of its operators have to be taken apart."""
    return not all(_is_plain_node(node) for node in program.graph.nodes if node.op == "call_function")


def _is_plain_node(node: fx.Node) -> bool:
    name = _operator(node)
    if name == "dropout_":
        return True
    if name.endswith("_"):
        changed = node.args[0]
        alone = isinstance(changed, fx.Node) and len(changed.users) == 1 and _operator(changed) in _FRESH
        return alone and name[:-1] in PLAIN_OPERATORS
    return name in PLAIN_OPERATORS


def _operator(node: fx.Node) -> str:
    return str(getattr(node.target, "__name__", node.target)).split(".")[0]


def _layer(network: nn.Module, entered: Iterable[str]) -> str:
    """The layer in which tracing stopped, as people find it in their code."""
    names = [name for name in entered if name]
    if not names:
        return f"network {type(network).__name__}"
    name = names[-1]
    return f"layer {name!r} ({type(network.get_submodule(name)).__name__})"


def _origin(program: ExportedProgram | Recorded, message: str) -> str:
    """The layer whose operator the importer's message names."""
    for node in program.graph.nodes:
        operator = getattr(node.target, "__name__", str(node.target))
        if node.op == "call_function" and re.search(rf"\b{re.escape(operator)}", message):
            stack = list(node.meta.get("nn_module_stack", {}).values())
            path = stack[-1][0] if stack else ""
            return f"operator {operator} of layer {path!r}" if path else f"operator {operator}"
    return "the network"


def _reason(error: Exception) -> str:
    """What the importer says, in our words where it knows no such operator."""
    unknown = re.search(r"Unsupported function types (\[.*\])", str(error))
    if unknown is None:
        return _first_line(error)
    return "not known: " + ", ".join(re.findall(r"[\w.]+", unknown[1]))


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__
