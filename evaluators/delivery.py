"""A taught student compiled, compared, measured and written down: what a search and an update leave of it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import save_file
from torch import nn

from evaluators.candidate import real_inputs
from evaluators.cost import cost_of, library_name
from evaluators.half_precision import keep_precise
from evaluators.onnx_twin import check_onnx, export_onnx
from evaluators.quantise.integer import delivered
from evaluators.quantise.onnx_file import is_quantised, tolerance_of
from evaluators.stages import Stages
from evaluators.workbench import Workbench
from results.goals import LIBRARY
from results.measurement import Measurement
from spaces.batch import sliced

FILES = {"weights": "weights.safetensors", "onnx": "student.onnx"}
"""Beside a library for each target."""


@dataclass(frozen=True)
class Delivery:
    """What was delivered: on which ``bench`` (where float16 costs too much, its targets compute in float32), the
    figures by the names of the record, the ``files`` by what they are, whether its weights are whole numbers."""

    bench: Workbench
    figures: Mapping[str, Measurement]
    files: Mapping[str, str]
    quantised: bool


def deliver(
    bench: Workbench, trained: nn.Module, resolution: int, val_accuracy: float, folder: Path, stages: Stages
) -> Delivery:
    """Compile a taught network for every target and measure it there, and write it into ``folder``.

    The libraries, the ONNX twin (checked against torch under onnxruntime), the weights as trained and what else a
    device needs (a vocabulary) are written.
    ``val_accuracy`` is a share in 0..1, in float32. Raises ``UnderstudyError`` when a stage fails.
    """
    network, inputs = delivered(trained), real_inputs(bench, resolution)
    bench, half = keep_precise(bench, network, resolution, val_accuracy)
    cost = cost_of(bench, network, inputs, folder, stages)
    quantised = is_quantised(network)
    with stages.stage("export_onnx"), bench.working():
        export_onnx(network, sliced(inputs, 0, 1), folder / FILES["onnx"])
        tolerance = tolerance_of(network)
        check_onnx(folder / FILES["onnx"], network, inputs, tolerance=tolerance, as_written=quantised)
    save_file(trained.state_dict(), folder / FILES["weights"])
    for path in bench.task.device_files.values():
        shutil.copyfile(path, folder / path.name)
    libraries = {target.goal.name(LIBRARY): library_name(target.goal) for target in bench.targets}
    more = {what: path.name for what, path in bench.task.device_files.items()}
    return Delivery(bench, {**half, **cost}, {**FILES, **libraries, **more}, quantised)
