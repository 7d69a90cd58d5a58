"""An exported program as a network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from evaluators.exported.archive import DTYPES, Archive, Json, ProgramError, read_archive, unreadable
from evaluators.exported.graph import Graph

_HELD = ("parameter", "buffer", "tensor_constant")


@dataclass(frozen=True)
class InputSize:
    """An input's name, its sizes (None where they may vary) and its dtype."""

    name: str
    sizes: tuple[int | None, ...]
    dtype: torch.dtype


class Program(nn.Module):
    """The network of an exported program: takes its tensors in order, and gives one tensor or a tuple of them.

    Weights keep their names. Raises ``ProgramError`` when the file is not such a program, holds pickled objects,
    or uses an operator outside of ATen.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        archive = read_archive(path)
        try:
            self._graph = Graph(path, archive.graph)
            self.inputs = _inputs(archive)
            self.outputs = _outputs(archive.signature)
            self._held: dict[str, str] = {}
            for spec in archive.signature["input_specs"]:
                ((kind, held),) = spec.items()
                if kind in _HELD:
                    name = held[f"{kind}_name"]
                    self._held[held["arg"]["name"]] = name
                    _register(self, name, archive.tensors[name], kind == "parameter")
        except (KeyError, IndexError, TypeError, ValueError, RuntimeError, StopIteration) as error:
            raise error if isinstance(error, ProgramError) else unreadable(path, error) from error

    def float(self) -> Program:
        """In single precision, weights as well as what the program names half precision for."""
        super().float()
        self._graph = self._graph.in_single()
        return self

    def forward(self, *tensors: Tensor) -> Any:
        """The outputs of the program; a single one as it is."""
        values: dict[str, Any] = {name: _held(self, held) for name, held in self._held.items()}
        values.update(zip((each.name for each in self.inputs), tensors, strict=True))
        self._graph.run(values, self.outputs)
        outputs = tuple(values[name] for name in self.outputs)
        return outputs[0] if len(outputs) == 1 else outputs


def _inputs(archive: Archive) -> tuple[InputSize, ...]:
    asked = [spec["user_input"]["arg"] for spec in archive.signature["input_specs"] if "user_input" in spec]
    others = [kind for argument in asked for kind in argument if kind not in ("as_tensor", "as_none")]
    if others:
        raise ProgramError(f"it takes a value that is no tensor ({others[0]}): export it with tensors only")
    names = [argument["as_tensor"]["name"] for argument in asked if "as_tensor" in argument]
    return tuple(_size(name, archive.graph["tensor_values"][name]) for name in names)


def _size(name: str, meta: Json) -> InputSize:
    return InputSize(name, tuple(size.get("as_int") for size in meta["sizes"]), DTYPES[meta["dtype"]])


def _outputs(signature: Json) -> tuple[str, ...]:
    answers = [spec["user_output"]["arg"] for spec in signature["output_specs"] if "user_output" in spec]
    names = tuple(argument["as_tensor"]["name"] for argument in answers if "as_tensor" in argument)
    if not names:
        raise ProgramError("it gives no tensor: export a network that does")
    return names


def _register(network: nn.Module, name: str, tensor: Tensor, is_parameter: bool) -> None:
    """Put a tensor where its dotted name says."""
    *path, leaf = name.split(".")
    for part in path:
        if part not in network._modules:
            network.add_module(part, nn.Module())
        network = network.get_submodule(part)
    if is_parameter and tensor.is_floating_point():
        network.register_parameter(leaf, nn.Parameter(tensor, requires_grad=False))
    else:
        network.register_buffer(leaf, tensor)


def _held(network: nn.Module, name: str) -> Tensor:
    path, _, leaf = name.rpartition(".")
    held: Tensor = getattr(network.get_submodule(path), leaf)
    return held
