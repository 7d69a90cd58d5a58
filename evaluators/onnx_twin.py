"""A network's ONNX twin: one file for other runtimes, checked against torch before anyone relies on it.

Written with the TorchScript exporter at opset 17: on convolutional students it gives the same graph as the
newer exporter (batch norm folded) in a tenth of a second instead of several, without its per-node metadata.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from evaluators.compile.verify import compare, expected_outputs
from results.bundle.runner import as_tuple
from results.store import write_atomically
from spaces.batch import Batch, parts
from understudy import CompileError

OPSET = 17
INPUT, OUTPUT = "input", "logits"
PICTURE, QUESTION = "picture", "question"
"""The inputs of a student of pictures with questions."""
TOLERANCE = 1e-4
"""Largest difference allowed between torch and onnxruntime, relative to the largest logit."""


def export_onnx(
    network: nn.Module, example: Batch, path: Path, *, metadata: Mapping[str, str] | None = None
) -> None:
    """Write ``network``, put in evaluation mode, as one ONNX file with the weights inside.

    ``example`` is such as (N, C, R, R) float32, on the network's device; the file takes any N under the name
    ``input`` (``picture`` and ``question`` where there are two) and gives ``logits`` (N, classes). ``metadata``
    goes into the model's properties. Raises ``CompileError`` when the network cannot be exported or the file would
    not be valid ONNX.
    """
    import onnx

    names = input_names(example)
    free = {name: {0: "batch"} for name in (*names, OUTPUT)}
    model = onnx.load_from_string(_exported(network, parts(example), names, free=free))
    onnx.helper.set_model_props(model, dict(metadata or {}))
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise CompileError(f"the network does not become valid ONNX: {error}") from error
    write_atomically(path, model.SerializeToString())


def check_onnx(
    path: Path, network: nn.Module, inputs: Batch, *, tolerance: float = TOLERANCE, as_written: bool = False
) -> float:
    """Run ``inputs``, such as (N, C, R, R), through the file and through ``network``; how far apart they are.

    ``as_written`` keeps onnxruntime from its own integer kernels, which saturate on some processors. The answer
    is the largest absolute difference relative to the largest absolute logit of torch. Raises ``CompileError``
    above ``tolerance``, and when onnxruntime does not take the file.
    """
    with torch.inference_mode():
        expected = network.eval()(*parts(inputs)).float().cpu()
    actual = torch.from_numpy(_run(path, inputs, as_written))
    if actual.shape != expected.shape:
        raise CompileError(f"{path} gives shape {tuple(actual.shape)}, but torch {tuple(expected.shape)}")
    scale = max(float(expected.abs().max()), torch.finfo(torch.float32).tiny)
    difference = float((actual - expected).abs().max()) / scale
    if not difference <= tolerance:
        raise CompileError(
            f"{path} under onnxruntime is off from torch by {difference:.2g} of the largest logit, "
            f"but {tolerance:.2g} is allowed: do not deploy this file"
        )
    return difference


def check_twin(
    path: Path, network: nn.Module, example: tuple[Tensor, ...], inputs: Sequence[str], outputs: Sequence[str]
) -> None:
    """Compare a file that ``write_twin`` wrote with its network, on the example.

    Raises ``CompileError`` where an output is off from torch, and when onnxruntime does not take the file.
    """
    expected = expected_outputs(network, *example)
    arrays = dict(zip(inputs, (part.cpu().numpy() for part in example), strict=True))
    compare(as_tuple(expected), tuple(_answers(path, arrays, outputs, False)), TOLERANCE)


def input_names(batch: Batch) -> tuple[str, ...]:
    """What the inputs of a student's ONNX file are called."""
    return (PICTURE, QUESTION) if isinstance(batch, tuple) else (INPUT,)


def write_twin(
    network: nn.Module, example: tuple[Tensor, ...], path: Path, inputs: Sequence[str], outputs: Sequence[str]
) -> None:
    """Write any network as one ONNX file for inputs of the example's shapes, under the names given.

    Raises ``CompileError`` when it cannot be exported.
    """
    write_atomically(path, _exported(network, example, inputs, outputs))


def _exported(
    network: nn.Module,
    example: tuple[Tensor, ...],
    inputs: Sequence[str] = (INPUT,),
    outputs: Sequence[str] = (OUTPUT,),
    free: Mapping[str, Any] | None = None,
) -> bytes:
    try:
        with warnings.catch_warnings(), tempfile.TemporaryDirectory(prefix="understudy-") as folder:
            file = Path(folder) / "network.onnx"
            warnings.simplefilter("ignore")  # of the exporter's age, and of what tracing takes for constant
            torch.onnx.export(
                network.eval(),
                example,
                file,
                dynamo=False,
                opset_version=OPSET,
                input_names=list(inputs),
                output_names=list(outputs),
                dynamic_axes=free,
            )
            return file.read_bytes()
    except Exception as error:  # the exporter raises whatever it runs into
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise CompileError(f"the network cannot be exported to ONNX: {lines[0]}") from error


def _run(path: Path, inputs: Batch, as_written: bool) -> Any:
    arrays = (part.cpu().numpy() for part in parts(inputs))
    return _answers(path, dict(zip(input_names(inputs), arrays, strict=True)), [OUTPUT], as_written)[0]


def _answers(path: Path, arrays: Mapping[str, Any], outputs: Sequence[str], as_written: bool) -> Sequence[Any]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    if as_written:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    try:
        session: Any = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        found: Sequence[Any] = session.run(list(outputs), dict(arrays))
        return found
    except Exception as error:  # onnxruntime's errors share no base of their own
        raise CompileError(f"onnxruntime cannot run {path}: {error}") from error
