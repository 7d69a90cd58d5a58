"""What the compiler asks of a file that holds a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import tvm
from numpy.typing import NDArray

from results.tensors import TensorSpec
from understudy import CompileError, unknown_name

Array = NDArray[Any]
Sizes = Sequence[int | str | None]
"""Sizes of an input as its file has them: a number, the name of a free one, or nothing."""


class NetworkFile(Protocol):
    """A network of a file, for inputs of static shapes."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[str, ...]
    tolerance: float
    """How far the compiled network may be from the original, as ``verify.compare`` counts."""

    def module(self) -> tvm.IRModule:
        """The relax graph: ``main`` takes the inputs, all else is constant. Raises ``CompileError``."""
        ...

    def expected(self, inputs: tuple[Array, ...]) -> tuple[Array, ...]:
        """What the network itself gives, run by whoever the file was made for. Raises ``CompileError``."""
        ...

    def write_onnx(self, path: Path) -> None:
        """Write the network as one ONNX file. Raises ``CompileError`` when it does not become one."""
        ...


def open_network(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> NetworkFile:
    """The network of an ONNX file or a ``torch.export`` program; ``shapes`` by input's name win over the file's.

    A single shape may go by the name ``""`` where there is one input. Raises ``CompileError`` when the file
    cannot be read, or an input has a free size that is neither its batch nor given.
    """
    if not path.is_file():
        raise CompileError(f"there is no file {path}: name an ONNX file (.onnx) or a torch.export program (.pt2)")
    if path.suffix == ".onnx":
        from evaluators.compile.importers.onnx_file import OnnxFile

        return OnnxFile(path, shapes)
    if path.suffix == ".pt2":
        from evaluators.compile.importers.program_file import ProgramFile

        return ProgramFile(path, shapes)
    raise CompileError(
        f"{path} is no .onnx or .pt2 file: export the network with torch.onnx.export, or torch.export.export and "
        "torch.export.save"
    )


def static_shapes(
    path: Path, free: Mapping[str, Sizes], given: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[int, ...]]:
    """A static shape for every input, from what the file says and what the user gives.

    A named size that is given for one input holds for all; a batch (the first size) that nobody gives is 1.
    """
    if "" in given and len(free) == 1:
        given = {next(iter(free)): given[""]}
    for name in given:
        if name not in free:
            raise CompileError(f"{path}: {unknown_name('input', name, free)}")
    known: dict[str, int] = {}
    for name, shape in given.items():
        _match(path, name, free[name], shape, known)
    return {name: given.get(name) or _filled(path, name, sizes, known) for name, sizes in free.items()}


def _match(path: Path, name: str, sizes: Sizes, shape: tuple[int, ...], known: dict[str, int]) -> None:
    text = "x".join("?" if size is None else str(size) for size in sizes)
    fits = len(sizes) == len(shape) and all(
        each == size for size, each in zip(sizes, shape, strict=True) if isinstance(size, int)
    )
    if not fits:
        raise CompileError(
            f"{path} takes {name} as {text}, but --input says {'x'.join(map(str, shape))}: give it sizes that fit"
        )
    known.update((size, each) for size, each in zip(sizes, shape, strict=True) if isinstance(size, str))


def _filled(path: Path, name: str, sizes: Sizes, known: Mapping[str, int]) -> tuple[int, ...]:
    shape = []
    for axis, size in enumerate(sizes):
        if isinstance(size, int):
            shape.append(size)
        elif axis == 0 or size in known:
            shape.append(known.get(size or "", 1))
        else:
            text = "x".join("?" if each is None else str(each) for each in sizes)
            raise CompileError(
                f"{path} leaves sizes of its input {name} open ({text}): give them, as in --input {name}=1x128"
            )
    return tuple(shape)
