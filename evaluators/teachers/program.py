"""A ``torch.export`` program (``.pt2``) run straight from its graph.

``torch.export.load`` cannot be used on a file from outside: it unpickles tensors and constants
(``weights_only=False``), evaluates symbolic sizes with sympy, executes guards as Python source and imports
modules that the file names. Here the archive is read as what it is, JSON and raw tensors, and its nodes are
run one after another; only ``torch.ops.aten`` operators and plain arithmetic can be called.
"""

from __future__ import annotations

import json
import math
import operator
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from evaluators.teachers.teacher import in_batches
from understudy import TeacherError

Json = Mapping[str, Any]

SCHEMA = 8
"""The major version of the archive's schema that is read (``torch/_export/serde/schema.py``)."""

_DTYPES = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    12: torch.bool,
    13: torch.bfloat16,
}
_MEMORY_FORMATS = {1: torch.contiguous_format, 2: torch.channels_last, 4: torch.preserve_format}
_PLAIN = frozenset(
    {"as_int", "as_ints", "as_float", "as_floats", "as_bool", "as_bools", "as_string", "as_strings"}
)
_ATEN = re.compile(r"torch\.ops\.aten\.([a-zA-Z]\w*|_[a-z]\w*)\.([a-zA-Z]\w*)")
_REFUSED = frozenset({"from_file"})
_ARITHMETIC: Mapping[str, Callable[..., Any]] = {
    f"_operator.{function.__name__}": function
    for function in (
        *(operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod),
        *(operator.neg, operator.getitem, operator.eq, operator.ne, operator.lt, operator.le),
        *(operator.gt, operator.ge, operator.and_, operator.or_),
    )
} | {"math.floor": math.floor, "math.ceil": math.ceil, "math.trunc": math.trunc}


class Program(nn.Module):
    """The network of an exported program: one tensor in, its first tensor output (the logits) out.

    ``input_shape`` holds None for sizes that may vary. Raises ``TeacherError`` when the file is not such a
    program, holds pickled objects, or uses an operator outside of ATen.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        try:
            with zipfile.ZipFile(path) as archive:
                self._read(path, archive)
        except (OSError, zipfile.BadZipFile, ValueError, KeyError, IndexError, TypeError, RuntimeError) as error:
            raise TeacherError(
                f"{path} cannot be read as a program of torch.export.save ({type(error).__name__}: {error}): "
                f"export it again with torch {torch.__version__}, or to ONNX"
            ) from error

    def _read(self, path: Path, archive: zipfile.ZipFile) -> None:
        entries = {name.partition("/")[2]: name for name in archive.namelist()}
        model = json.loads(archive.read(entries["models/model.json"]))
        if model["schema_version"]["major"] != SCHEMA:
            raise ValueError(f"schema version {model['schema_version']}, not {SCHEMA}")
        program, signature = model["graph_module"]["graph"], model["graph_module"]["signature"]
        self._nodes = [(_function(path, node["target"]), node) for node in program["nodes"]]
        self._inputs: dict[str, str] = {}
        self._last_use = _last_use(program["nodes"])
        tensors = _tensors(path, archive, entries, "weights") | _tensors(path, archive, entries, "constants")
        asked = [spec["user_input"]["arg"] for spec in signature["input_specs"] if "user_input" in spec]
        if len(asked) != 1 or "as_tensor" not in asked[0]:
            raise ValueError(f"it takes {len(asked)} inputs, but a teacher takes one tensor of images")
        self._image: str = asked[0]["as_tensor"]["name"]
        self.input_shape = tuple(size.get("as_int") for size in program["tensor_values"][self._image]["sizes"])
        for spec in signature["input_specs"]:
            (kind, held), *_ = spec.items()
            if kind in ("parameter", "buffer", "tensor_constant"):
                self._inputs[held["arg"]["name"]] = name = f"t{len(self._inputs)}"
                self.register_buffer(name, tensors[held[f"{kind}_name"]])
        answers = [spec["user_output"]["arg"] for spec in signature["output_specs"] if "user_output" in spec]
        self._answer: str = next(arg["as_tensor"]["name"] for arg in answers if "as_tensor" in arg)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of (N, C, H, W), in batches of the exported size where it is fixed."""
        return in_batches(self._run, images, self.input_shape[0])

    def _run(self, images: Tensor) -> Tensor:
        """Run the graph; values are let go of after their last use."""
        values: dict[str, Any] = {name: self.get_buffer(buffer) for name, buffer in self._inputs.items()}
        values[self._image] = images
        for number, (function, node) in enumerate(self._nodes):
            positional, named = _arguments(node, values)
            _keep(function(*positional, **named), node["outputs"], values)
            for name in self._last_use.get(number, ()):
                if name != self._answer:
                    values.pop(name, None)
        answer: Tensor = values[self._answer]
        return answer


def _function(path: Path, target: str) -> Callable[..., Any]:
    """What a node may call; raises ``TeacherError`` for anything but ATen operators and arithmetic."""
    if target in _ARITHMETIC:
        return _ARITHMETIC[target]
    match = _ATEN.fullmatch(target)
    if match and match[1] not in _REFUSED:
        overload = getattr(getattr(torch.ops.aten, match[1], None), match[2], None)
        if isinstance(overload, torch._ops.OpOverload):
            return overload
    raise TeacherError(
        f"{path} calls {target[:80]!r}, which a teacher's program may not: export the network in eval mode "
        "without custom operators, or to ONNX"
    )


def _tensors(path: Path, archive: zipfile.ZipFile, entries: Mapping[str, str], kind: str) -> dict[str, Tensor]:
    """Tensors of ``data/weights`` or ``data/constants`` by name."""
    config = json.loads(archive.read(entries[f"data/{kind}/model_{kind}_config.json"]))["config"]
    found: dict[str, Tensor] = {}
    for name, entry in config.items():
        if entry["use_pickle"]:
            raise TeacherError(
                f"{path} holds {name[:80]!r} pickled, which could run code: export it with plain tensors"
            )
        meta = entry["tensor_meta"]
        sizes, strides = ([size["as_int"] for size in meta[key]] for key in ("sizes", "strides"))
        content = bytearray(archive.read(entries[f"data/{kind}/{entry['path_name']}"]))
        dtype = _DTYPES[meta["dtype"]]
        flat = torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)
        found[name] = flat.as_strided(sizes, strides, meta["storage_offset"]["as_int"]).clone()
    return found


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
        return _DTYPES[held]
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
