"""``torch.export`` programs, checked against torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
import tvm
from torch import Tensor

from evaluators.compile.export import import_network
from evaluators.compile.importers.network_file import Array, static_shapes
from evaluators.compile.single import in_single
from evaluators.compile.verify import TOLERANCE, expected_outputs
from evaluators.exported.archive import ProgramError
from evaluators.exported.program import Program
from evaluators.onnx_twin import write_twin
from results.tensors import TensorSpec
from understudy import CompileError


class ProgramFile:
    """The network of a ``.pt2`` file. See ``NetworkFile``."""

    def __init__(self, path: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
        try:
            program = Program(path).eval()
        except ProgramError as error:
            raise CompileError(str(error)) from error
        asked = program.inputs
        found = static_shapes(path, {each.name: each.sizes for each in asked}, shapes)
        example = tuple(torch.zeros(found[each.name], dtype=each.dtype) for each in asked)
        self._program, self._example = in_single(program, example)
        self.inputs = tuple(
            TensorSpec(each.name, found[each.name], str(x.dtype).removeprefix("torch."))
            for each, x in zip(asked, self._example, strict=True)
        )
        self.outputs, self.tolerance = program.outputs, TOLERANCE

    def module(self) -> tvm.IRModule:
        """See ``NetworkFile``."""
        return import_network(self._program, self._example)

    def expected(self, inputs: tuple[Array, ...]) -> tuple[Array, ...]:
        """See ``NetworkFile``."""
        tensors: tuple[Tensor, ...] = tuple(torch.from_numpy(each) for each in inputs)
        try:
            found = expected_outputs(self._program, *tensors)
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            first = str(error).strip().splitlines()[0]
            raise CompileError(f"torch cannot run the program itself ({first}): check its inputs") from error
        return found if isinstance(found, tuple) else (found,)

    def write_onnx(self, path: Path) -> None:
        """See ``NetworkFile``."""
        names = [each.name for each in self.inputs]
        write_twin(self._program, self._example, path, names, self.outputs)
