"""Delivered networks as relax graphs and as ONNX files, the integer ones by way of their QDQ form."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from evaluators.compile.export import import_network
from evaluators.compile.importers.onnx_file import OnnxFile
from evaluators.compile.verify import ROUNDING, TOLERANCE
from evaluators.onnx_twin import export_onnx, input_names, write_twin
from evaluators.quantise.integer import IntegerLayer
from evaluators.quantise.weights import StoredEmbedding, StoredLinear
from spaces.batch import Batch, parts


def import_student(
    network: nn.Module, example: Batch, inputs: Sequence[str] = (), outputs: Sequence[str] = ()
) -> Any:
    """The relax graph of a network as ``delivered`` gives it, for inputs like the example.

    ``inputs`` and ``outputs`` name what it takes and gives, where that is more than one of each. Raises
    ``CompileError`` as ``import_network`` does.
    """
    if not is_quantised(network):
        return import_network(network, example)
    names = tuple(inputs) or input_names(example)
    with tempfile.TemporaryDirectory(prefix="understudy-") as folder:
        path = Path(folder) / "student.onnx"
        if outputs:
            write_twin(network, parts(example), path, names, outputs)
        else:
            export_onnx(network, example, path)
        shapes = {name: tuple(part.shape) for name, part in zip(names, parts(example), strict=True)}
        return OnnxFile(path, shapes).module()


def is_quantised(network: nn.Module) -> bool:
    """Whether some layers of a delivered network have whole numbers for weights."""
    return any(isinstance(module, (IntegerLayer, StoredLinear, StoredEmbedding)) for module in network.modules())


def has_integers(network: nn.Module) -> bool:
    """Whether some layers of a delivered network compute in integers."""
    return any(isinstance(module, IntegerLayer) for module in network.modules())


def tolerance_of(network: nn.Module) -> float:
    """How far a delivered network's compiled form may be from it, as ``verify.compare`` counts."""
    return ROUNDING if has_integers(network) else TOLERANCE
