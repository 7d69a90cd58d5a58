"""Running the graph of an exported program, one node after another."""

from __future__ import annotations

import copy
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from evaluators.exported.archive import DTYPES, Json, ProgramError

_MEMORY_FORMATS = {1: torch.contiguous_format, 2: torch.channels_last, 4: torch.preserve_format}
_PLAIN = frozenset(
    {"as_int", "as_ints", "as_float", "as_floats", "as_bool", "as_bools", "as_string", "as_strings"}
)
_ATEN = re.compile(r"torch\.ops\.aten\.([a-zA-Z]\w*|_[a-z]\w*)\.([a-zA-Z]\w*)")
_REFUSED = frozenset({"from_file"})
_IDLE = frozenset({"torch.ops.aten._assert_tensor_metadata.default", "torch.ops.aten._assert_scalar.default"})
"""Nodes that check and give nothing."""
_WRAPPERS = frozenset(
    {
        "torch.ops.higher_order.wrap_with_set_grad_enabled",
        "torch.ops.higher_order.wrap_with_autocast",
    }
)
_ARITHMETIC: Mapping[str, Callable[..., Any]] = {
    f"_operator.{function.__name__}": function
    for function in (
        *(operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod),
        *(operator.neg, operator.getitem, operator.eq, operator.ne, operator.lt, operator.le),
        *(operator.gt, operator.ge, operator.and_, operator.or_),
    )
} | {"math.floor": math.floor, "math.ceil": math.ceil, "math.trunc": math.trunc}

_SINGLE = next(code for code, dtype in DTYPES.items() if dtype == torch.float32)


class Graph:
    """A graph of the schema, ready to run; raises ``ProgramError`` for a node that may not be called."""

    def __init__(self, path: Path, graph: Json) -> None:
        self._nodes = [_step(path, node) for node in graph["nodes"] if node["target"] not in _IDLE]
        self._last_use = _last_use([node for _, node in self._nodes])

    def in_single(self) -> Graph:
        """The same with single precision wherever it names half precision."""
        single = copy.copy(self)
        single._nodes = [(function, _in_single(node)) for function, node in self._nodes]
        return single

    def run(self, values: dict[str, Any], kept: Sequence[str]) -> None:
        """Run the nodes on values by name, which are let go of after their last use unless ``kept``."""
        for number, (function, node) in enumerate(self._nodes):
            positional, named = _arguments(node, values)
            _keep(function(*positional, **named), node["outputs"], values)
            for name in self._last_use.get(number, ()):
                if name not in kept:
                    values.pop(name, None)


def _in_single(node: Json) -> Json:
    def widened(argument: Json) -> Json:
        half = DTYPES.get(argument["arg"].get("as_scalar_type")) in (torch.float16, torch.bfloat16)
        return {**argument, "arg": {"as_scalar_type": _SINGLE}} if half else argument

    return {**node, "inputs": [widened(argument) for argument in node["inputs"]]}


def _step(path: Path, node: Json) -> tuple[Callable[..., Any], Json]:
    """A node and what it calls; one that runs a part of the program in another mode just runs that part."""
    if node["target"] not in _WRAPPERS:
        return _function(path, node["target"]), node
    at = next(number for number, each in enumerate(node["inputs"]) if "as_graph" in each["arg"])
    held = node["inputs"][at]["arg"]["as_graph"]["graph"]
    inner, names = Graph(path, held), _names(held["inputs"])
    outputs = _names(held["outputs"])

    def call(*arguments: Any) -> Any:
        values = dict(zip(names, arguments, strict=True))
        inner.run(values, outputs)
        return [values[name] for name in outputs]

    return call, {**node, "inputs": node["inputs"][at + 1 :]}


def _function(path: Path, target: str) -> Callable[..., Any]:
    """What a node may call; raises ``ProgramError`` for anything but ATen operators and arithmetic."""
    if target in _ARITHMETIC:
        return _ARITHMETIC[target]
    match = _ATEN.fullmatch(target)
    if match and match[1] not in _REFUSED:
        overload = getattr(getattr(torch.ops.aten, match[1], None), match[2], None)
        if isinstance(overload, torch._ops.OpOverload):
            return overload
    raise ProgramError(
        f"{path} calls {target[:80]!r}, which a program may not: export the network in eval mode "
        "without custom operators, or to ONNX"
    )


def _arguments(node: Json, values: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    positional: list[Any] = []
    named: dict[str, Any] = {}
    for argument in node["inputs"]:
        value = _value(argument["arg"], values)
        if argument.get("kind") == 2 or named:
            named[argument["name"]] = value
        else:
            positional.append(value)
    return positional, named


def _value(argument: Json, values: Mapping[str, Any]) -> Any:
    """An argument of the schema as what an operator takes."""
    ((kind, held),) = argument.items()
    if kind in _PLAIN:
        return held
    if kind == "as_none":
        return None
    if kind in ("as_tensor", "as_name"):
        return values[held if kind == "as_name" else held["name"]]
    if kind == "as_tensors":
        return [values[item["name"]] for item in held]
    if kind in ("as_sym_int", "as_sym_float", "as_sym_bool", "as_optional_tensor"):
        return _value(held, values)
    if kind in ("as_sym_ints", "as_sym_floats", "as_sym_bools", "as_optional_tensors"):
        return [_value(item, values) for item in held]
    return _setting(kind, held)


def _setting(kind: str, held: Any) -> Any:
    if kind == "as_scalar_type":
        return DTYPES[held]
    if kind == "as_memory_format":
        return _MEMORY_FORMATS[held]
    if kind == "as_layout":
        return torch.strided
    if kind == "as_device":
        return None  # where its arguments are
    raise ValueError(f"arguments of kind {kind} are not taken")


def _keep(result: Any, outputs: list[Json], values: dict[str, Any]) -> None:
    """File a node's result under the names of its outputs."""
    if len(outputs) == 1 and "as_tensors" in outputs[0]:
        values.update(zip((item["name"] for item in outputs[0]["as_tensors"]), result, strict=True))
        return
    for output, value in zip(outputs, result if len(outputs) > 1 else [result], strict=True):
        values.update(dict.fromkeys(_names(output), value))


def _last_use(nodes: list[Json]) -> dict[int, list[str]]:
    """Names that no node after this number reads."""
    last = {name: number for number, node in enumerate(nodes) for name in _names(node["inputs"])}
    grouped: dict[int, list[str]] = {}
    for name, number in last.items():
        grouped.setdefault(number, []).append(name)
    return grouped


def _names(part: Any) -> list[str]:
    """Every value that a piece of the graph names."""
    if isinstance(part, list):
        return [name for item in part for name in _names(item.get("arg", item))]
    ((kind, held),) = part.items()
    if kind == "as_name":
        return [held]
    if kind in ("as_tensor", "as_sym_int", "as_sym_float", "as_sym_bool", "as_optional_tensor"):
        return [held["name"]] if "name" in held else _names(held)
    if kind in ("as_tensors", "as_optional_tensors", "as_sym_ints", "as_sym_floats", "as_sym_bools"):
        return [name for item in held for name in ([item["name"]] if "name" in item else _names(item))]
    return []
