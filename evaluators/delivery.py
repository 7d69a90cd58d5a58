"""A taught student compiled, compared, measured and written down: what a search and an update leave of it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn

from evaluators.candidate import real_inputs
from evaluators.cost import cost_of, library_name
from evaluators.half_precision import keep_precise
from evaluators.onnx_shared import share_weights
from evaluators.onnx_twin import check_onnx, check_twin, export_onnx, write_twin
from evaluators.programs import PREFILL, STUDENT, device_facts, programs_of
from evaluators.quantise.integer import delivered
from evaluators.quantise.onnx_file import is_quantised, tolerance_of
from evaluators.stages import Stages
from evaluators.workbench import Workbench
from results.bundle.write import ONNX_WEIGHTS
from results.goals import LIBRARY
from results.measurement import Measurement
from spaces.batch import Batch, parts

WEIGHTS = "weights.safetensors"
TWINS = {STUDENT: "onnx", PREFILL: "prefill_onnx"}
"""What a program's ONNX file is called among a student's files."""


@dataclass(frozen=True)
class Delivery:
    """What was delivered: on which ``bench`` (where float16 costs too much, its targets compute in float32), the
    figures by the names of the record, the ``files`` by what they are, whether its weights are whole numbers, and
    what a device does to a sample."""

    bench: Workbench
    figures: Mapping[str, Measurement]
    files: Mapping[str, str]
    quantised: bool
    preprocess: Mapping[str, Any]


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
    with stages.stage("export_onnx"), bench.working():
        twins = _write_twins(network, inputs, folder)
    save_file(trained.state_dict(), folder / WEIGHTS)
    for path in bench.task.device_files.values():
        shutil.copyfile(path, folder / path.name)
    libraries = {target.goal.name(LIBRARY): library_name(target.goal) for target in bench.targets}
    more = {what: path.name for what, path in bench.task.device_files.items()}
    files = {"weights": WEIGHTS, **twins, **libraries, **more}
    preprocess = {**bench.task.preprocess(resolution), **device_facts(network)}
    return Delivery(bench, {**half, **cost}, files, is_quantised(network), preprocess)


def _write_twins(network: nn.Module, inputs: Batch, folder: Path) -> dict[str, str]:
    """Write the programs of a network as ONNX files, and compare them with torch; the files by what they are."""
    programs = programs_of(network, inputs)
    names = {TWINS[program.name]: f"{program.name}.onnx" for program in programs}
    if len(programs) == 1:
        path = folder / names["onnx"]
        export_onnx(network, programs[0].example, path)
        check_onnx(path, network, inputs, tolerance=tolerance_of(network), as_written=is_quantised(network))
        return names
    files = [folder / name for name in names.values()]
    for program, path in zip(programs, files, strict=True):
        write_twin(program.network, parts(program.example), path, program.ins, program.outs)
    share_weights(files, folder / ONNX_WEIGHTS)
    for program, path in zip(programs, files, strict=True):
        check_twin(path, program.network, parts(program.example), program.ins, program.outs)
    return {**names, "onnx_weights": ONNX_WEIGHTS}
